"""Tables and figures of the paper: published and simulated values as bars side by side."""
import matplotlib.pyplot as plt
from matplotlib.patches import Patch

import style


def unique(values):
    return list(dict.fromkeys(values))


def legend(figure, artifact):
    handles = [Patch(color=style.SIMULATED, label="simulated")]
    if any(row["published"] is not None for row in artifact["rows"]):
        handles.insert(0, Patch(color=style.PUBLISHED, label="published"))
    if artifact["key"] == "figure4":
        handles.append(Patch(color=style.RANGE, alpha=0.4, label="published as a range"))
    figure.legend(handles=handles, loc="lower right", ncol=len(handles), fontsize=9)


def bars(axes, labels, rows, unit, headroom=1.3):
    """Horizontal bars, one pair a row, first row on top; only simulated where nothing is published."""
    height = 0.38
    top = max((value for row in rows for value in (row["published"], row["simulated"])
               if value is not None), default=1) or 1
    for place, row in enumerate(rows):
        values = [(row["published"], style.PUBLISHED, ""), (row["simulated"], style.SIMULATED, "")]
        values = [one for one in values if one[0] is not None]
        for index, (value, color, _) in enumerate(values):
            at = place + (index - (len(values) - 1) / 2) * height
            axes.barh(at, value, height * 0.92, color=color)
            text = style.number(value)
            if color == style.SIMULATED and row["error"] is not None:
                text += f"  ({style.percent(row['error'])})"
            axes.text(value + top * 0.012, at, text, va="center", fontsize=8)
    axes.set_yticks(range(len(rows)), labels)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, top * headroom)
    axes.set_xlabel(unit.replace("[us]", "[µs]"))


def split(artifact, by):
    return [(value, [row for row in artifact["rows"] if row[by] == value])
            for value in unique(row[by] for row in artifact["rows"])]


def title(figure, artifact):
    figure.suptitle(artifact["title"], x=0.012, ha="left", fontsize=11, fontweight="bold")


def draw_overhead(artifact):
    groups = split(artifact, "series")
    figure, axes = plt.subplots(1, len(groups), figsize=(10, 1.8 + 0.55 * len(groups[0][1])),
                                layout="constrained")
    for axis, (name, rows) in zip(axes, groups):
        bars(axis, [row["item"] for row in rows], rows, f"{name} a message [{rows[0]['unit']}]", 1.4)
        if axis is not axes[0]:
            axis.set_yticklabels([])
    return figure


def draw_stages(artifact):
    groups = split(artifact, "series")
    figure, axes = plt.subplots(1, len(groups), figsize=(10.5, 5.4), sharey=False,
                                layout="constrained")
    names = {"data": "data segment", "ack": "pure acknowledgement"}
    for axis, (name, rows) in zip(axes, groups):
        bars(axis, [row["item"] for row in rows], rows, "core time a segment [µs]", 1.35)
        axis.set_title(names[name])
    return figure


def draw_by_item(artifact):
    """One panel an item, implementations as bars."""
    groups = split(artifact, "item")
    rows = max(len(group) for _, group in groups)
    figure, axes = plt.subplots(1, len(groups), figsize=(10.5, 1.7 + 0.62 * rows),
                                layout="constrained", squeeze=False)
    for axis, (name, group) in zip(axes[0], groups):
        bars(axis, [row["series"] for row in group], group, f"round trip [{group[0]['unit']}]", 1.4)
        axis.set_title(name)
        if axis is not axes[0][0]:
            axis.set_yticklabels([])
    return figure


def draw_throughput(artifact):
    groups = dict(split(artifact, "item"))
    throughput = groups["throughput"]
    figure, axes = plt.subplots(1, 3, figsize=(12, 1.9 + 0.6 * len(throughput)),
                                layout="constrained", width_ratios=[2, 1, 1])
    bars(axes[0], [row["series"] for row in throughput], throughput, "throughput [MB/s]", 1.35)
    axes[0].set_title("10 MB in chunks of 16 KiB")
    for axis, host in zip(axes[1:], ("sender", "receiver")):
        rows = [dict(row, simulated=100 * row["simulated"])
                for row in groups[f"CPU utilisation, {host}"]]
        for place, row in enumerate(rows):
            low, high = (50, 75) if "0.5" in row["note"] else (0, 1)
            axis.barh(place, high - low, 0.8, left=low, color=style.RANGE, alpha=0.4)
        bars(axis, [""] * len(rows), rows, "of one host processor [%]", 1.3)
        axis.set_xlim(0, max(max(row["simulated"] for row in rows) * 1.3, 1.6))
        axis.set_title(f"CPU, {host}")
    return figure


def draw_storage(artifact):
    groups = split(artifact, "item")
    columns = 2
    lines = (len(groups) + 1) // columns
    rows = max(len(group) for _, group in groups)
    figure, axes = plt.subplots(lines, columns, figsize=(11, lines * (1.1 + 0.45 * rows)),
                                layout="constrained", squeeze=False)
    for place, (name, group) in enumerate(groups):
        axis = axes[place // columns][place % columns]
        if not group[0]["unit"]:
            group = [dict(row, simulated=100 * row["simulated"], unit="%") for row in group]
        bars(axis, [row["series"] for row in group], group, group[0]["unit"], 1.25)
        axis.set_title(name)
        if place % columns:
            axis.set_yticklabels([])
    return figure


DRAWERS = {
    "table1": draw_overhead,
    "table2": draw_stages,
    "table3": draw_stages,
    "figure3": draw_by_item,
    "figure4": draw_throughput,
    "figure7": draw_storage,
}


def draw(artifact):
    figure = DRAWERS[artifact["key"]](artifact)
    title(figure, artifact)
    room = 0.32 / figure.get_figheight()  # inches for the legend
    figure.get_layout_engine().set(rect=(0, room, 1, 1 - room))
    legend(figure, artifact)
    return figure
