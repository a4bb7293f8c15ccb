"""One HTML page of everything a study found, complete in itself."""
import html as escaping

import findings
import style

CSS = """
body { font: 15px/1.5 system-ui, sans-serif; color: #202124; margin: 0 auto; max-width: 1120px;
       padding: 0 24px 60px; }
h1 { font-size: 26px; margin: 28px 0 4px; } h2 { font-size: 20px; margin: 38px 0 8px;
     border-bottom: 1px solid #ddd; padding-bottom: 4px; } h3 { font-size: 16px; margin: 24px 0 6px; }
table { border-collapse: collapse; font-size: 13px; margin: 8px 0; }
th, td { text-align: left; padding: 3px 10px; border-bottom: 1px solid #eee; vertical-align: top; }
th { background: #f5f6f7; } td.n { text-align: right; white-space: nowrap;
     font-variant-numeric: tabular-nums; }
td.bad { color: #b3261e; font-weight: 600; } td.good { color: #1e7b34; }
img { max-width: 100%; display: block; margin: 6px 0; }
code, pre { font: 12.5px/1.4 ui-monospace, monospace; background: #f5f6f7; }
pre { padding: 10px; overflow-x: auto; } code { padding: 1px 4px; overflow-wrap: anywhere; }
.note { color: #5f6368; font-size: 13px; margin: 4px 0; } .small { font-size: 12px; }
details > summary { cursor: pointer; margin: 8px 0; }
nav a { margin-right: 14px; }
"""


def text(value):
    return escaping.escape(str(value))


def unit(value):
    return text(value.replace("us", "µs"))


def table(columns, rows):
    """`columns`: titles; rows of (content, css class) pairs or plain texts, already escaped."""
    out = ["<table><tr>" + "".join(f"<th>{title}</th>" for title in columns) + "</tr>"]
    for row in rows:
        cells = [cell if isinstance(cell, tuple) else (cell, "") for cell in row]
        out.append("<tr>" + "".join(
            f'<td class="{kind}">{content}</td>' if kind else f"<td>{content}</td>"
            for content, kind in cells) + "</tr>")
    out.append("</table>")
    return "\n".join(out)


def number(value):
    return (style.number(value), "n")


def error_cell(error):
    if error is None:
        return ("–", "n")
    kind = "n good" if abs(error) <= findings.TOLERANCE else "n bad"
    return (style.percent(error), kind)


def picture(pictures, name, alternative):
    return f'<img src="{pictures[name]}" alt="{text(alternative)}">' if name in pictures else ""


def comparison_table(rows):
    body = []
    for row in rows:
        shown = dict(row)
        body.append([text(shown["item"]), text(shown["series"]), number(shown["published"]),
                     number(shown["simulated"]), unit(shown["unit"]), error_cell(shown["error"]),
                     f'<span class="small">{text(shown["note"])}</span>'])
    return table(["", "", "published", "simulated", "", "error", ""], body)


def artifact_section(artifact, pictures):
    commands = list(dict.fromkeys(row["command"] for row in artifact["rows"]))
    parts = [f'<h3 id="{artifact["key"]}">{text(artifact["title"])}</h3>',
             f'<p class="note">Paper: {text(artifact["place"])}.</p>',
             picture(pictures, artifact["key"], artifact["title"])]
    parts += [f'<p class="note">{text(note)}</p>' for note in artifact["notes"]]
    parts.append("<details><summary>Numbers, and the commands that give them</summary>")
    parts.append(comparison_table(artifact["rows"]))
    parts.append("<pre>" + "\n".join(text(command) for command in commands) + "</pre></details>")
    return "\n".join(parts)


def figures_section(study):
    rows = [[text(one["title"]), text(one["place"]), number(one["published"]),
             number(one["simulated"]), unit(one["unit"]), error_cell(one["error"])]
            for one in study["figures"]]
    return table(["", "paper", "published", "simulated", "", "error"], rows)


def deviations_section(study):
    sensitivity = study.get("sensitivity")
    items = []
    for figure in study["figures"]:
        line = text(findings.deviation(figure, sensitivity))
        busy = findings.bottleneck(figure)
        if busy:
            line += f" <span class='note'>Busiest: {text(busy)}.</span>"
        items.append(f"<li>{line}</li>")
    out = "<ul>" + "\n".join(items) + "</ul>"
    overhead = findings.table_deviations(study)
    if overhead:
        out += "<ul>" + "\n".join(f"<li>{text(line)}</li>" for line in overhead) + "</ul>"
    broken = findings.broken_claims(study)
    out += ("<p>Statements of the paper that do not hold:</p><ul>"
            + "\n".join(f"<li>{text(line)}</li>" for line in broken) + "</ul>" if broken
            else "<p>All statements that the paper makes in words hold.</p>")
    dependence = findings.host_dependence(study)
    if dependence:
        out += (f"<p>{text(findings.host_constants(study))}</p><ul>"
                + "\n".join(f"<li>{text(line)}</li>" for line in dependence) + "</ul>")
    return out


def relations_section(study):
    scored = []
    for claim in study["claims"]:
        kind = "good" if claim["holds"] and claim["counted"] else "" if claim["holds"] else "bad"
        scored.append([text(claim["title"]), text(claim["paper"]), text(claim["simulated"]),
                       error_cell(claim["error"]), text(claim["subject"]),
                       (findings.verdict(claim), kind),
                       f'<span class="small">“{text(claim["text"])}”, {text(claim["place"])}</span>'])
    rows = [[text(row["title"]), text(row["subject"]), text(findings.relation_value(row)),
             number(row["simulated"])] for row in study["relations"]]
    return (f"<p>{text(findings.CLAIMS_NOTE)}</p>"
            + table(["", "paper", "simulated", "error", "decided by", "", "the paper's words"], scored)
            + "<details><summary>The values behind them</summary>"
            + table(["", "", "paper", "simulated"], rows) + "</details>")


def message_section(life, pictures):
    steps = [[f"host {step['host']}", text(step["resource"]), text(step["label"]),
              (f"{step['start_us']:.2f}", "n"), (f"{step['end_us'] - step['start_us']:.2f}", "n")]
             for step in life["path_to_receiver"]]
    return "\n".join([
        picture(pictures, f"message-{life['bytes']}", "life of a message"),
        f"<details><summary>Critical path of the {life['bytes']}-byte message, step by step (host "
        "1 sends, host 0 receives)</summary>",
        table(["", "resource", "", "from [µs]", "takes [µs]"], steps),
        f"<pre>{text(life['command'])}</pre></details>"])


def sensitivity_section(study, pictures):
    sensitivity = study["sensitivity"]
    keys = sensitivity["figures"]
    titles = {one["key"]: one["title"] for one in study["figures"]}
    rows = []
    for row in sensitivity["rows"]:
        cells = [text(row["group"]), f"<code>{text(row['name'])}</code>", text(row["change"]),
                 text(row["kind"])]
        cells += [(style.percent(row["changes"][key]), "n") for key in keys]
        cells.append(f'<span class="small">{text(row["source"])}</span>')
        rows.append(cells)
    return "\n".join([
        picture(pictures, "sensitivity", "sensitivity"),
        '<p class="note">A number that is a count goes to the next whole one; one that is zero '
        "stays; what changes nothing is in the table only.</p>",
        "<details><summary>Every switch and number</summary>",
        table(["", "", "change", "kind"] + [text(titles[key]) for key in keys] + ["why it is as it is"],
              rows), "</details>"])


def host_sensitivity_section(study):
    parts = []
    for host in study["host_sensitivity"]:
        keys = host["figures"]
        base = ", ".join(f"{key} {style.number(host['base'][key])}" for key in keys)
        rows = [[f"<code>{text(row['name'])}</code>", text(row["change"])]
                + [(style.percent(row["changes"][key]), "n") for key in keys]
                + [f'<span class="small">{text(row["source"])}</span>'] for row in host["rows"]]
        parts.append(f"<details><summary>{text(host['title'])}: every fitted or assumed number 25% "
                     f"down and up ({text(base)})</summary>"
                     + table(["", "change"] + [text(key) for key in keys] + ["why it is as it is"],
                             rows) + "</details>")
    return "\n".join(parts)


def profile_section(profile):
    rows = [[f"<code>{text(one['name'])}</code>", number(one["value"]), unit(one["unit"]),
             text(one["kind"]), text(one["profile"]), text(one["source"])]
            for one in profile["parameters"]]
    counts = {}
    for one in profile["parameters"]:
        counts[one["kind"]] = counts.get(one["kind"], 0) + 1
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
    return (f"<p>{text(profile['summary'])} {len(rows)} numbers: {kinds}.</p>"
            + "<details><summary>All of them</summary>"
            + table(["parameter", "value", "", "kind", "set by", "source"], rows) + "</details>")


def html(study, pictures):
    sections = [
        ("figures", "The six figures", figures_section(study)),
        ("deviations", "Where it deviates, and why", deviations_section(study)),
        ("paper", "Tables and figures",
         "\n".join(artifact_section(one, pictures) for one in study["artifacts"])),
        ("relations", "What the paper says in words", relations_section(study)),
        ("message", "The life of a message",
         "\n".join(message_section(one, pictures) for one in study["messages"])),
    ]
    if "sensitivity" in study:
        sections.append(("sensitivity", "Sensitivity",
                         sensitivity_section(study, pictures) + host_sensitivity_section(study)))
    profiles = [study["profile"]] + study["host_profiles"]
    sections.append(("profile", "Profiles: every number and its source",
                     "\n".join(f"<h3>{text(one['name'])}</h3>" + profile_section(one)
                               for one in profiles)))
    sections.append(("made", "How this was made",
                     f"<p>QPIP {text(study['version'])}, {study['simulations']} simulations.</p>"
                     f"<pre>{text(study['command'])} --report DIR</pre>"))
    links = "".join(f'<a href="#{key}">{title}</a>' for key, title, _ in sections)
    body = "\n".join(f'<h2 id="{key}">{title}</h2>\n{content}' for key, title, content in sections)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>QPIP: the paper reproduced</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>{CSS}</style></head><body>
<h1>Queue-Pair IP, reproduced in virtual time</h1>
<p class="note">{text(study['paper'])}</p>
<p>{text(findings.summary(study))}</p>
<nav>{links}</nav>
{body}
</body></html>
"""
