"""A sweep: one metric over the first axis, a line for every combination of the others, with the 95%
interval of each point where it was repeated."""
import textwrap

import matplotlib.pyplot as plt

import style

UNITS = {"us": "µs", "share of time": "share of time, 0 to 1"}
SUFFIXES = ("_MB_per_s", "_MB_per_cpu_s", "_us")  # of names whose unit is said anyway
LEGEND_INSIDE = 4  # more lines have it beside the picture
WIDEST = 3.2  # points that the lowest of several lines is wider than the uppermost
SPREAD = 30  # values that span more than this factor are drawn on a logarithmic axis
MARKS = "osv^Dx+*"
DASHES = ("-", "--", ":", "-.")


def label(study, name):
    unit = study.get("units", {}).get(name, "")
    unit = UNITS.get(unit, unit)
    return words(name) + (f" [{unit}]" if unit else "")


def words(name):
    """A metric's name without its unit: "throughput"."""
    if "." in name:  # a parameter: as it is given
        return name
    for suffix in SUFFIXES:
        name = name.removesuffix(suffix)
    return name.replace("_", " ")


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


def tick_text(value):
    """As it is given on the command line: 133M, 10G."""
    for size, suffix in ((1e9, "G"), (1e6, "M")):
        if value >= size and value % size == 0:
            return f"{value / size:g}{suffix}"
    return style.number(value)


def wide(values):
    """Whether a logarithmic axis shows more: all above zero, far apart, and more than two."""
    known = sorted(set(value for value in values if value == value))
    return len(known) > 2 and known[0] > 0 and known[-1] / known[0] > SPREAD


def geometric(values):
    """Whether each of at least four is about as many times the one before, as 1, 2, 4, 8 are."""
    known = sorted(set(values))
    if len(known) < 4 or known[0] <= 0:
        return False
    ratios = [after / before for before, after in zip(known, known[1:])]
    return min(ratios) > 1.5 and max(ratios) / min(ratios) < 1.5


def apart(values):
    """Whether so few values lie so far apart that each can have its mark on the axis."""
    known = sorted(set(values))
    if not 1 < len(known) <= 8:
        return False
    return min(b - a for a, b in zip(known, known[1:])) > 0.07 * (known[-1] - known[0])


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
        below = (len(drawn) - 1 - place) / max(1, len(drawn) - 1)
        axis.errorbar(xs, ys, yerr=errors if any(map(any, errors)) else None, capsize=2.5,
                      marker=MARKS[place % len(MARKS)], markersize=4 + below * WIDEST, label=name,
                      linewidth=1.3 + below * WIDEST, alpha=1 if below == 0 else 0.65,
                      linestyle=DASHES[place // len(MARKS) % len(DASHES)])
    xs = [number(point[0]) for points in drawn.values() for point in points]
    if None not in xs and (wide(xs) or geometric(xs)):
        axis.set_xscale("log")
        ticks = sorted(set(xs))
        if len(ticks) <= 12:
            axis.set_xticks(ticks, [tick_text(tick) for tick in ticks], minor=False)
            axis.minorticks_off()
    elif None not in xs and apart(xs):
        ticks = sorted(set(xs))
        axis.set_xticks(ticks, [tick_text(tick) for tick in ticks])
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
    axis.set_title(f"{study['scenario']}: {words(metric)} over {study['axes'][0]}")
    if len(study["axes"]) > 1:
        if len(drawn) > LEGEND_INSIDE:
            figure.set_figwidth(9.5)
            figure.legend(loc="outside right upper", fontsize=8)
        else:
            axis.legend(fontsize=8)
    if fixed(study):
        figure.supxlabel("\n".join(textwrap.wrap(fixed(study), 110)), fontsize=7, color="#555555",
                         x=0.012, ha="left")
    return figure


def save_all(study, directory):
    for metric in study["plot"]:
        style.save(draw(study, metric), f"{directory}/{metric}")
