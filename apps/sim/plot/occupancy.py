"""A scenario's occupancy over time, and the critical path of one of its messages."""
import matplotlib.pyplot as plt

import style

SHOWN_PARTS = 9  # of a resource; the rest is "other"
SHOWN_SHARES = 16  # of a path, the largest


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
    """Above: where the path is at each moment. Below: what it is made of."""
    steps = study["path"]["steps"]
    lanes = sorted({(step["host"], step["resource"]) for step in steps})
    shares = {}
    for step in steps:
        name = f"host {step['host']} {step['resource']}" + (f": {step['label']}" if step["label"]
                                                           else "")
        shares[name] = shares.get(name, 0) + step["end_us"] - step["start_us"]
    largest = sorted(shares.items(), key=lambda one: -one[1])[:SHOWN_SHARES]
    figure, (course, parts) = plt.subplots(
        2, 1, figsize=(11, 1.6 + 0.42 * len(lanes) + 0.24 * len(largest)), layout="constrained",
        height_ratios=[0.5 + 0.42 * len(lanes), 0.5 + 0.24 * len(largest)])
    colors = plt.get_cmap("tab10").colors
    for step in steps:
        course.barh(lanes.index((step["host"], step["resource"])),
                    step["end_us"] - step["start_us"], 0.8, left=step["start_us"],
                    color="#bbbbbb" if step["resource"] == "waiting" else colors[step["host"] % 10])
    course.set_yticks(range(len(lanes)), [f"host {host} {resource}" for host, resource in lanes])
    course.set_ylim(len(lanes) - 0.4, -0.6)
    course.set_xlim(0, steps[-1]["end_us"])
    course.set_xlabel("from the message's work request [µs]")
    total = steps[-1]["end_us"] - steps[0]["start_us"]
    for place, (_, value) in enumerate(largest):
        parts.barh(place, value, 0.75, color=style.SIMULATED)
        parts.text(value, place, f"  {style.number(value)} µs ({100 * value / total:.0f}%)",
                   va="center", fontsize=7)
    parts.set_yticks(range(len(largest)), [name for name, _ in largest], fontsize=8)
    parts.set_ylim(len(largest) - 0.4, -0.6)
    parts.set_xlim(0, largest[0][1] * 1.18)
    parts.set_xlabel("time on the path [µs]")
    figure.suptitle(f"Critical path of message {study['path']['message']} of {study['scenario']}, "
                    f"{style.number(total)} µs", x=0.012, ha="left", fontsize=11, fontweight="bold")
    return figure
