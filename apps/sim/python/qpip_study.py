"""Reads what qpip-sim writes. Python's own library is all it needs.

    import qpip_study
    study = qpip_study.load("results")            # a sweep's directory, or a file of run --json
    for row in study.rows:
        print(row["link.mtu"], row["throughput_MB_per_s"])
    print(study.table("link.mtu", "protocol.ack_every", "throughput_MB_per_s"))

With pandas: `pandas.DataFrame(qpip_study.load("results").rows)`, or `pandas.read_csv("results/sweep.csv")`.
"""
import json
import pathlib


class Study:
    """`rows`: a dictionary for every point: axes (numbers where they are), metrics, words, and of a
    repeated run METRIC_median, METRIC_ci95_low, METRIC_ci95_high, METRIC_min, METRIC_max; "error" where
    a point has failed. `axes`: their names. `info`: all besides (version, commit, arguments, ...)."""

    def __init__(self, rows, axes, info):
        self.rows, self.axes, self.info = rows, axes, info

    def where(self, **values):
        """The rows with these values; write a dot in a name as two underscores (link__mtu=1500)."""
        wanted = {name.replace("__", "."): value for name, value in values.items()}
        return [row for row in self.rows if all(row.get(name) == value for name, value in wanted.items())]

    def values(self, name):
        """What a column has, each value once, in the order of the rows."""
        return list(dict.fromkeys(row[name] for row in self.rows if name in row))

    def table(self, down, across, metric, text=None):
        """A Markdown table of `metric`: one axis down, another across (None: no other). `text` makes a
        cell of a row; otherwise the number, with its 95% interval when there is one."""
        text = text or (lambda row: cell(row, metric))
        columns = self.values(across) if across else [None]
        lines = [[down] + ([f"{across}={value}" for value in columns] if across else [metric])]
        for value in self.values(down):
            line = [str(value)]
            for other in columns:
                found = [row for row in self.rows
                         if row.get(down) == value and (across is None or row.get(across) == other)]
                line.append("; ".join("failed" if "error" in row else text(row) for row in found))
            lines.append(line)
        rule = "|" + "---|" * len(lines[0])
        rows = ["| " + " | ".join(line) + " |" for line in lines]
        return "\n".join([rows[0], rule] + rows[1:])


def cell(row, metric):
    """"35.9", or "35.9 (30.1 to 41.7)"."""
    if metric not in row:
        return ""
    text = f"{row[metric]:.4g}"
    low, high = row.get(metric + "_ci95_low"), row.get(metric + "_ci95_high")
    return text if low is None or low == high else f"{text} ({low:.4g} to {high:.4g})"


def number(text):
    try:
        return int(text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            return text


def _row(result):
    row = {name: number(value) for name, value in result.get("axes", {}).items()}
    row.update(result.get("metrics", {}))
    row.update(result.get("words", {}))
    for metric, statistics in result.get("statistics", {}).items():
        row.update({f"{metric}_{name}": value for name, value in statistics.items()})
    if "error" in result:
        row["error"] = result["error"]
    return row


def load(path):
    """A sweep's directory, its sweep.json, or a file with a `qpip-sim run --json` on each line."""
    path = pathlib.Path(path)
    if path.is_dir():
        path = path / "sweep.json"
    text = path.read_text()
    try:
        results = [json.loads(text)]
    except json.JSONDecodeError:
        results = [json.loads(line) for line in text.splitlines() if line.strip()]
    if "points" in results[0]:
        info = {name: value for name, value in results[0].items() if name != "points"}
        return Study([_row(point) for point in results[0]["points"]], info["axes"], info)
    rows = []
    for result in results:
        row = {name: number(value) for name, value in result["arguments"].items()}
        row.update(result["set"])
        row.update(_row(result))
        rows.append(row)
    info = {name: results[0].get(name) for name in ("version", "commit", "scenario", "profile")}
    return Study(rows, [], info)
