"""A scenario's occupancy over time, and the critical path of one of its messages."""
import matplotlib.pyplot as plt

import style

SHOWN_PARTS = 9  # of a resource; the rest is "other"


def grouped(resource):
    """The largest parts, and the rest as one."""
    parts = sorted(resource["parts"], key=lambda part: -part["busy_us"])
    if len(parts) <= SHOWN_PARTS:
        return parts
    rest = parts[SHOWN_PARTS:]
    bins = [sum(values) for values in zip(*(part["bins"] for part in rest))]
    return parts[:SHOWN_PARTS] + [{"label": f"other ({len(rest)})", "bins": bins,
                                   "share": sum(part["share"] for part in rest)}]


def draw(study):
    occupancy = study["occupancy"]
    resources = [one for one in occupancy["resources"] if one["busy_us"] > 0][:16]
    figure, axes = plt.subplots(len(resources), 1, figsize=(12, 0.9 + 1.65 * len(resources)),
                                sharex=True, layout="constrained", squeeze=False)
    colors = plt.get_cmap("tab10").colors
    width = occupancy["bin_us"]
    for axis, resource in zip(axes[:, 0], resources):
        parts = grouped(resource)
        times = [occupancy["start_us"] + index * width for index in range(len(parts[0]["bins"]))]
        below = [0.0] * len(times)
        for place, part in enumerate(parts):
            values = [100 * value for value in part["bins"]]
            axis.bar(times, values, width, bottom=below, align="edge", color=colors[place % 10],
                     label=f"{part['label']} {100 * part['share']:.1f}%")
            below = [a + b for a, b in zip(below, values)]
        axis.set_ylim(0, 105)
        axis.set_ylabel("busy [%]")
        axis.set_title(f"host {resource['host']}, {resource['resource']}: "
                       f"{100 * resource['utilisation']:.1f}% in all")
        axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=7)
    axes[-1][0].set_xlabel("virtual time [µs]")
    figure.suptitle(f"{study['scenario']}, profile {study['profile']}", x=0.012, ha="left",
                    fontsize=11, fontweight="bold")
    return figure


def draw_path(study):
    steps = study["path"]["steps"]
    figure, axes = plt.subplots(figsize=(11, 1.4 + 0.27 * len(steps)), layout="constrained")
    hosts = sorted({step["host"] for step in steps})
    colors = plt.get_cmap("tab10").colors
    for place, step in enumerate(steps):
        width = step["end_us"] - step["start_us"]
        waiting = step["resource"] == "waiting"
        axes.barh(place, width, 0.8, left=step["start_us"],
                  color="#dddddd" if waiting else colors[hosts.index(step["host"]) % 10])
        axes.text(step["end_us"], place, f"  {style.number(width)} µs", va="center", fontsize=7)
    names = [f"host {step['host']} {step['resource']}" + (f": {step['label']}" if step["label"] else "")
             for step in steps]
    axes.set_yticks(range(len(steps)), names, fontsize=8)
    axes.set_ylim(len(steps) - 0.4, -0.6)
    axes.set_xlim(0, steps[-1]["end_us"] * 1.1)
    axes.set_xlabel("from the message's work request [µs]")
    figure.suptitle(f"Critical path of message {study['path']['message']} of {study['scenario']}",
                    x=0.012, ha="left", fontsize=11, fontweight="bold")
    return figure
