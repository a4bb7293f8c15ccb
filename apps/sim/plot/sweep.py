"""A sweep: one metric over the first axis, a line for every combination of the others."""
import matplotlib.pyplot as plt

import style

UNITS = (("_MB_per_s", "MB/s"), ("_us", "µs"), ("_ns", "ns"), ("_utilisation", "share of time"))


def unit_of(metric):
    for ending, unit in UNITS:
        if metric.endswith(ending):
            return unit
    return ""


def number(text):
    try:
        return float(text)
    except ValueError:
        return None


def lines(study, metric):
    """Label and points of each line, in the order of the sweep."""
    first, others = study["axes"][0], study["axes"][1:]
    found = {}
    for point in study["points"]:
        label = ", ".join(f"{name} = {point['axes'][name]}" for name in others)
        value = point["metrics"].get(metric)  # not every point has every metric
        found.setdefault(label, []).append((point["axes"][first], float("nan") if value is None else value))
    return found


def draw(study, metric):
    figure, axis = plt.subplots(figsize=(7.5, 4.5), layout="constrained")
    marks = "osv^Dx+*"
    for place, (label, points) in enumerate(lines(study, metric).items()):
        values = [number(x) for x, _ in points]
        names = [x for x, _ in points]
        xs = values if None not in values else names  # profiles and the like are categories
        axis.plot(xs, [y for _, y in points], marker=marks[place % len(marks)], markersize=4,
                  label=label)
    axis.set_xlabel(study["axes"][0])
    unit = unit_of(metric)
    axis.set_ylabel(metric.replace("_", " ") + (f" [{unit}]" if unit else ""))
    axis.set_ylim(bottom=0)
    axis.grid(alpha=0.3)
    axis.set_title(f"{study['scenario']}, {study['profile']}")
    if len(study["axes"]) > 1:
        axis.legend()
    return figure


def save_all(study, directory):
    for metric in study["plot"]:
        style.save(draw(study, metric), f"{directory}/{metric}")
