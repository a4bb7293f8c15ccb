"""A sweep: one metric over the first axis, a line for every combination of the others, with the 95%
interval of each point where it was repeated."""
import textwrap

import matplotlib.pyplot as plt

import style

UNITS = {"us": "µs", "share of time": "share of time, 0 to 1"}
SPREAD = 30  # values that span more than this factor are drawn on a logarithmic axis
MARKS = "osv^Dx+*"
DASHES = ("-", "--", ":", "-.")


def label(study, name):
    unit = study.get("units", {}).get(name, "")
    unit = UNITS.get(unit, unit)
    return name.replace("_", " ") + (f" [{unit}]" if unit else "")


def number(text):
    try:
        return float(text)
    except ValueError:
        return None


def lines(study, metric):
    """Label and points (x, value, low, high) of each line, in the order of the sweep."""
    first, others = study["axes"][0], study["axes"][1:]
    found = {}
    for point in study["points"]:
        name = ", ".join(f"{other} = {point['axes'][other]}" for other in others)
        value = point.get("metrics", {}).get(metric)  # not every point has every metric
        spread = point.get("statistics", {}).get(metric, {})
        value = float("nan") if value is None else value
        found.setdefault(name, []).append((point["axes"][first], value, spread.get("ci95_low", value),
                                           spread.get("ci95_high", value)))
    return found


def wide(values):
    """Whether a logarithmic axis shows more: all above zero, far apart, and more than two."""
    known = sorted(set(value for value in values if value == value))
    return len(known) > 2 and known[0] > 0 and known[-1] / known[0] > SPREAD


def fixed(study):
    """What was the same at every point, and was not left as it is by default."""
    parts = [] if "profile" in study["axes"] else [study["profile"]]
    parts += [f"{name}={value}" for name, value in study.get("given", {}).items()]
    parts += study.get("set", [])
    if study.get("repeat", 1) > 1:
        parts.append(f"{study['repeat']} seeds, 95% intervals of the mean")
    return ", ".join(parts)


def draw(study, metric):
    figure, axis = plt.subplots(figsize=(7.5, 4.8), layout="constrained")
    drawn = lines(study, metric)
    for place, (name, points) in enumerate(drawn.items()):
        values = [number(point[0]) for point in points]
        xs = values if None not in values else [point[0] for point in points]
        ys = [point[1] for point in points]
        errors = [[point[1] - point[2] for point in points], [point[3] - point[1] for point in points]]
        # Lines that lie on each other are told apart: the ones below are wider and lighter.
        below = len(drawn) - 1 - place
        axis.errorbar(xs, ys, yerr=errors if any(map(any, errors)) else None, capsize=2.5,
                      marker=MARKS[place % len(MARKS)], markersize=4 + below * 0.8, label=name,
                      linewidth=1.3 + below * 0.9, alpha=1 if below == 0 else 0.65,
                      linestyle=DASHES[place // len(MARKS) % len(DASHES)])
    xs = [number(point[0]) for points in drawn.values() for point in points]
    if None not in xs and wide(xs):
        axis.set_xscale("log")
        ticks = sorted(set(xs))
        if len(ticks) <= 12:
            axis.set_xticks(ticks, [style.number(tick) for tick in ticks], minor=False)
            axis.minorticks_off()
    ys = [point[1] for points in drawn.values() for point in points]
    if wide(ys) and not metric.endswith("_utilisation"):
        axis.set_yscale("log")
    else:
        axis.set_ylim(bottom=0)
    if metric.endswith("_utilisation"):
        axis.set_ylim(0, max(1.05, max((y for y in ys if y == y), default=1)))
    axis.set_xlabel(label(study, study["axes"][0]))
    axis.set_ylabel(label(study, metric))
    axis.grid(alpha=0.3)
    axis.set_title(f"{study['scenario']}: {metric.replace('_', ' ')} over {study['axes'][0]}")
    if len(study["axes"]) > 1:
        axis.legend(fontsize=8)
    if fixed(study):
        figure.supxlabel("\n".join(textwrap.wrap(fixed(study), 110)), fontsize=7, color="#555555",
                         x=0.012, ha="left")
    return figure


def save_all(study, directory):
    for metric in study["plot"]:
        style.save(draw(study, metric), f"{directory}/{metric}")
