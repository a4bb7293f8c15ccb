"""docs/reproducing-the-paper.md from a study."""
import findings
import style


def table(columns, rows):
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for row in rows:
        lines.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |")
    return "\n".join(lines)


def unit(value):
    return value.replace("us", "µs")


def figures(study):
    return table(["Figure", "Paper", "Published", "Simulated", "Error"],
                 [[one["title"], one["place"],
                   findings.value(one["published"], one["unit"]),
                   findings.value(one["simulated"], one["unit"]), style.percent(one["error"])]
                  for one in study["figures"]])


def artifact(one):
    rows = [[row["item"], row["series"], style.number(row["published"]),
             style.number(row["simulated"]), unit(row["unit"]), style.percent(row["error"])]
            for row in one["rows"]]
    notes = "\n".join(f"\n{note}" for note in one["notes"])
    return (f"### {one['title']}\n\nPaper: {one['place']}.\n\n"
            + table(["", "", "Published", "Simulated", "Unit", "Error"], rows) + "\n" + notes)


def claims(study):
    return table(["", "Paper", "Simulated", "Error", "Decided by", ""],
                 [[claim["title"], claim["paper"], claim["simulated"], style.percent(claim["error"]),
                   claim["subject"], findings.verdict(claim)] for claim in study["claims"]])


def relations(study):
    return table(["", "Of", "Paper", "Simulated"],
                 [[row["title"], row["subject"], findings.relation_value(row),
                   style.number(row["simulated"])] for row in study["relations"]])


def messages(study):
    parts = []
    for life in study["messages"]:
        shares = [[name[len("path_"):-len("_us")].replace("_", " "), f"{value:.2f}"]
                  for name, value in life["metrics"].items() if name.startswith("path_")]
        parts.append(
            f"{life['bytes']} bytes: {life['metrics']['received_us']:.2f} µs from PostSend to the "
            f"receiver's completion, {life['metrics']['completed_us']:.2f} µs until the sender has "
            "its own. The critical path to the receiver:\n\n" + table(["Resource", "µs"], shares))
    return "\n\n".join(parts)


def open_numbers(profile):
    return table(["Parameter", "Value", "Unit", "Kind", "Source"],
                 [[f"`{one['name']}`", style.number(one["value"]), one["unit"], one["kind"],
                   one["source"]] for one in profile["parameters"]
                  if one["kind"] in ("fitted", "assumed")])


def sensitivity(one):
    keys = one["figures"]
    rows = [[row["group"], f"`{row['name']}`", row["change"]]
            + [style.percent(row["changes"][key]) for key in keys] for row in one["rows"]]
    return table(["", "", "Change"] + [key.replace("_", " ") for key in keys], rows)


def host_sensitivity(one):
    base = ", ".join(f"{key.replace('_', ' ')} {style.number(value)}"
                     for key, value in one["base"].items())
    return f"### {one['title']}\n\nFrom {base}.\n\n" + sensitivity(one)


def deviating_claims(study):
    broken = findings.broken_claims(study)
    out = ("Statements of the paper that do not hold:\n\n" + "\n".join(f"- {line}" for line in broken)
           if broken else "All statements that the paper makes in words hold.")
    dependence = findings.host_dependence(study)
    if dependence:
        out += (f"\n\n{findings.host_constants(study)}\n\n"
                + "\n".join(f"- {line}" for line in dependence))
    return out


def text(study):
    parts = [
        "# Reproducing the paper",
        f"<!-- Written by: {study['command']} --markdown docs/reproducing-the-paper.md -->",
        study["paper"] + ".",
        findings.summary(study),
        "Everything below comes from one command, which also draws it and writes it as CSV and "
        "JSON (`--out DIR`) or as one HTML page (`--report DIR`):",
        f"    {study['command']} --out results --report results",
        "MB are 10^6 bytes. [simulation.md](simulation.md) says what the model is made of.",
        "## The six figures", figures(study),
        "## Where it deviates, and why",
        "\n".join("- " + findings.deviation(one, study.get("sensitivity"))
                  for one in study["figures"]),
        "\n".join("- " + line for line in findings.table_deviations(study)) or
        "All numbers of Table 1 are within the tolerance.",
        deviating_claims(study),
        "## Tables and figures"]
    parts += [artifact(one) for one in study["artifacts"]]
    parts += ["## What the paper says in words", findings.CLAIMS_NOTE, claims(study),
              "The values behind them:", relations(study),
              "## The life of a message", messages(study),
              "## What is fitted and assumed"]
    parts += [f"### {one['name']}\n\n{one['summary']}\n\n" + open_numbers(one)
              for one in [study["profile"]] + study["host_profiles"]]
    if "sensitivity" in study:
        parts += ["## Sensitivity\n\nChange of each figure when one thing is done differently: "
                  "structural switches, then every fitted and assumed number 25% down and up (a "
                  "count goes to the next whole number; zero stays).", sensitivity(study["sensitivity"])]
        if study["host_sensitivity"]:
            parts.append(findings.STORAGE_NOTE)
        parts += [host_sensitivity(one) for one in study["host_sensitivity"]]
    return "\n\n".join(parts) + "\n"
