"""What the numbers of a study say, in sentences; nothing here knows the outcome."""
import style

TOLERANCE = 0.05
EXPLAINS = 3  # of the things that move a figure most, how many are named


def value(number, unit):
    return f"{style.number(number)} {unit.replace('us', 'µs')}"


def movers(sensitivity, key, direction=0):
    """What moves a figure most, largest first; direction +1 or -1: only that way."""
    rows = [(row["changes"][key], row) for row in sensitivity["rows"]
            if row["changes"][key] is not None and abs(row["changes"][key]) >= 0.002]
    if direction:
        rows = [one for one in rows if one[0] * direction > 0]
    seen, out = set(), []
    for change, row in sorted(rows, key=lambda one: -abs(one[0])):
        identity = (row["name"], row["change"])
        if identity not in seen:
            seen.add(identity)
            out.append((change, row))
    return out


def name(row):
    return f"{row['name']} ({row['change']})"


def deviation(figure, sensitivity):
    """One figure: how far off, and what of the model's open points could account for it."""
    error = figure["error"]
    text = (f"{figure['title']}: published {value(figure['published'], figure['unit'])}, simulated "
            f"{value(figure['simulated'], figure['unit'])}, {style.percent(error)}.")
    if abs(error) < 0.0005:
        text += " No deviation to explain."
    if sensitivity is None:
        return text
    enough = [(change, row) for change, row in
              movers(sensitivity, figure["key"], -1 if error > 0 else 1)
              if abs(change) >= abs(error)] if abs(error) >= 0.0005 else []
    if enough:
        # The smallest that suffices says most.
        named = sorted(enough, key=lambda one: abs(one[0]))[:EXPLAINS]
        text += " Each of these alone would account for it: " + "; ".join(
            f"{name(row)} moves it by {style.percent(change)}" for change, row in named) + "."
    elif abs(error) >= 0.0005:
        towards = movers(sensitivity, figure["key"], -1 if error > 0 else 1)[:EXPLAINS]
        if towards:
            text += (" No single number or switch that the paper leaves open accounts for all of "
                     "it; most goes to " + "; ".join(
                         f"{name(row)}, {style.percent(change)}" for change, row in towards) + ".")
    strongest = movers(sensitivity, figure["key"])[:EXPLAINS]
    if strongest:
        text += " It depends most on " + "; ".join(
            f"{name(row)}: {style.percent(change)}" for change, row in strongest) + "."
    return text


def summary(study):
    """The first paragraph of a report."""
    figures = study["figures"]
    worst = max(figures, key=lambda one: abs(one["error"]))
    within = sum(abs(one["error"]) <= TOLERANCE for one in figures)
    tables = [one for one in study["artifacts"] if one["key"] in ("table2", "table3")]
    cells = [row for table in tables for row in table["rows"] if row["item"] != "Sum"]
    equal = sum(row["error"] is not None and abs(row["error"]) < 0.0005 for row in cells)
    return (f"{within} of {len(figures)} figures that the paper gives as numbers are within "
            f"{100 * TOLERANCE:.0f}%; the largest error is {style.percent(worst['error'])} "
            f"({worst['title']}). {equal} of {len(cells)} cells of Tables 2 and 3 are equal to the "
            f"published ones, read from what the simulated cores were busy with. "
            + relations_summary(study))


def relations_summary(study):
    """How many of the paper's relations hold, and whose do not."""
    known = [row for row in study["relations"] if row["simulated"] is not None]
    broken = [row for row in known if not row["holds"]]
    if not known:
        return ""
    text = f"{len(known) - len(broken)} of {len(known)} comparisons that the paper makes in words hold"
    if not broken:
        return text + "."
    names = list(dict.fromkeys(row["title"] for row in broken))
    return text + "; these do not: " + "; ".join(names) + "."


def broken_relations(study):
    """A sentence for each relation that does not hold."""
    out = []
    for row in study["relations"]:
        if row["simulated"] is None or row["holds"]:
            continue
        out.append(f"{row['title']} ({row['subject']}): the paper has {relation_value(row)}, the "
                   f"simulation {style.number(row['simulated'])}.")
    return out


def host_constants(study):
    """What the host-based stacks rest on: the paper gives no number of theirs."""
    fitted = {}
    for profile in study.get("host_profiles", []):
        for row in profile["parameters"]:
            if row["kind"] == "fitted":
                fitted[row["name"]] = f"{row['name']} ({style.number(row['value'])})"
    return ("The host-based stacks and the storage rest on constants that are published, derived "
            "or assumed, each with its source in the tables below; "
            + (", ".join(fitted.values()) if fitted else "none") + " is fitted to these "
            "comparisons. Some were revised after the first comparison with the paper: "
            "docs/decisions/0017-host-based-constants.md says which, and what came out before.")


def host_dependence(study):
    """What moves the host-based stacks most."""
    out = []
    for host in study.get("host_sensitivity", []):
        for key in host["figures"]:
            if key in ("receiver_cpu", "rtt_tcp"):
                continue
            strongest = movers(host, key)[:EXPLAINS]
            if strongest:
                out.append(f"{host['title']}, {key.replace('_', ' ')} "
                           f"{style.number(host['base'][key])}: it depends most on " + "; ".join(
                               f"{name(row)}: {style.percent(change)}"
                               for change, row in strongest) + ".")
    return out


def relation_value(row):
    """What the paper says, as a number or range."""
    if row["high"] is None:
        return f"above {style.number(row['low'])}"
    if row["low"] == row["high"]:
        return style.number(row["low"])
    return f"{style.number(row['low'])} to {style.number(row['high'])}"


def verdict(row):
    if row["simulated"] is None:
        return "not simulated by this build"
    return "holds" if row["holds"] else "DOES NOT HOLD"


def bottleneck(figure):
    """The busiest resource of a throughput run."""
    shares = {}
    for metric, share in figure["metrics"].items():
        if metric.endswith("_utilisation") and "host" not in metric:
            shares[metric[: -len("_utilisation")].replace("_", " ")] = share
    if not shares or figure["unit"] != "MB/s":
        return None
    ordered = sorted(shares.items(), key=lambda one: -one[1])
    return ", ".join(f"{resource} {100 * share:.0f}%" for resource, share in ordered[:4])
