"""What the numbers of a study say, in sentences; nothing here knows the outcome."""
import style

TOLERANCE = 0.05
EXPLAINS = 3  # of the things that move a figure most, how many are named
STEP = 0.25  # by how much the sensitivity moves a number
SIMILAR = 3  # a switch that moves a figure by more than so many times its error is not its cause

CLAIMS_NOTE = ("Each statement counts once, decided by the value that comes nearest to breaking it, and only "
               "if it could: a bound that every value keeps by more than a factor of two is shown and not "
               "counted. A number holds within 5%, as the paper prints it: of \"40% to 137%\" the 40 and the "
               "137 are compared, each with the least and the most that was simulated.")
STORAGE_NOTE = ("Those of the block device are over a fortieth of the file, 10,225,000 bytes instead of "
                "409,000,000, because there are hundreds of runs. The beginning and the end of a pass, when one side "
                "waits for the other, weigh more there: so the values that the changes are of are a little "
                "below those of Figure 7.")


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


def enough(figure, sensitivity):
    """What of the open points could be the whole cause: moves the figure towards the published value by
    about as much as it is off. A switch does as it is; a number by the part of its 25% that is needed, in
    proportion."""
    error = figure["error"]
    out = []
    for change, row in movers(sensitivity, figure["key"], -1 if error > 0 else 1):
        if row["group"] == "number":
            needed = STEP * abs(error) / abs(change)
            if needed <= STEP:
                before, after = (float(part) for part in row["change"].split(" -> "))
                out.append((needed, f"{row['name']} {'higher' if after > before else 'lower'} by about "
                            f"{100 * needed:.2g}%"))
        elif 1 <= abs(change / error) <= SIMILAR:
            out.append((abs(change) - abs(error), f"{name(row)} moves it by {style.percent(change)}"))
    return [text for _, text in sorted(out)[:EXPLAINS]]


def deviation(figure, sensitivity):
    """One figure: how far off, and what of the model's open points could account for it."""
    error = figure["error"]
    text = (f"{figure['title']}: published {value(figure['published'], figure['unit'])}, simulated "
            f"{value(figure['simulated'], figure['unit'])}, {style.percent(error)}.")
    if abs(error) < 0.0005:
        text += " No deviation to explain."
    if sensitivity is None:
        return text
    if abs(error) >= 0.0005:
        causes = enough(figure, sensitivity)
        text += (" Each of these alone would account for it: " + "; ".join(causes) + "." if causes else
                 " No single number or switch that the paper leaves open accounts for it by a change of "
                 "its own size.")
    strongest = movers(sensitivity, figure["key"])[:EXPLAINS]
    if strongest:
        text += " It depends most on " + "; ".join(
            f"{name(row)}: {style.percent(change)}" for change, row in strongest) + "."
    return text


def table_deviations(study):
    """Rows of Table 1 that are further off than the tolerance, a sentence each."""
    out = []
    for artifact in study["artifacts"]:
        if artifact["key"] != "table1":
            continue
        for row in artifact["rows"]:
            if row["error"] is None or abs(row["error"]) <= TOLERANCE or row["unit"] == "cycles":
                continue  # cycles are the time once more
            out.append(f"Table 1, {row['item']}: published "
                       f"{value(row['published'], row['unit'])}, simulated "
                       f"{value(row['simulated'], row['unit'])}, {style.percent(row['error'])}. "
                       f"{row['note']}")
    return out


def count_within(rows):
    known = [row for row in rows if row["error"] is not None]
    return sum(abs(row["error"]) <= TOLERANCE for row in known), len(known)


def summary(study):
    """The first paragraph of a report."""
    figures = study["figures"]
    worst = max(figures, key=lambda one: abs(one["error"]))
    within = sum(abs(one["error"]) <= TOLERANCE for one in figures)
    tables = [one for one in study["artifacts"] if one["key"] in ("table2", "table3")]
    cells = [row for table in tables for row in table["rows"] if row["item"] != "Sum"]
    equal = sum(row["error"] is not None and abs(row["error"]) < 0.0005 for row in cells)
    text = (f"{within} of {len(figures)} figures that the paper gives as numbers are within "
            f"{100 * TOLERANCE:.0f}%; the largest error is {style.percent(worst['error'])} "
            f"({worst['title']}). {equal} of {len(cells)} cells of Tables 2 and 3 are equal to the "
            f"published ones, which the profile is given: read back from what the simulated cores were "
            f"busy with, they show that every stage is charged once a segment. ")
    overhead = [row for one in study["artifacts"] if one["key"] == "table1" for row in one["rows"]]
    good, known = count_within(overhead)
    if known:
        furthest = max((row for row in overhead if row["error"] is not None),
                       key=lambda row: abs(row["error"]))
        text += (f"{good} of {known} numbers of Table 1 are within {100 * TOLERANCE:.0f}%; the largest "
                 f"error is {style.percent(furthest['error'])} ({furthest['item']}). ")
    return text + claims_summary(study)


def counted(study):
    return [claim for claim in study["claims"] if claim["counted"]]


def claims_summary(study):
    """How many of the paper's statements hold, and which do not."""
    known = counted(study)
    broken = [claim for claim in known if not claim["holds"]]
    if not known:
        return ""
    text = (f"{len(known) - len(broken)} of {len(known)} statements that the paper makes in words, and "
            "that could have failed, hold")
    if not broken:
        return text + "."
    return text + "; these do not: " + "; ".join(claim["title"] for claim in broken) + "."


def broken_claims(study):
    """A sentence for each statement that does not hold."""
    out = []
    for claim in counted(study):
        if claim["holds"]:
            continue
        error = "" if claim["error"] is None else f", {style.percent(claim['error'])}"
        out.append(f"{claim['title']} (\"{claim['text']}\"): the paper has {claim['paper']}, the "
                   f"simulation {claim['simulated']}{error} ({claim['subject']}).")
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


def verdict(claim):
    if not claim["counted"]:
        return "holds, not counted: far from the bound" if claim["holds"] else "DOES NOT HOLD"
    return "holds" if claim["holds"] else "DOES NOT HOLD"


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
