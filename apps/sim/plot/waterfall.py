"""The life of one message: core, DMA engines and link of both hosts over time, and what was
waited for."""
import matplotlib.pyplot as plt
from matplotlib.patches import Patch

import style

# From the top: host, resource, name on the axis. Host 1 sends, host 0 receives.
LANES = [
    (1, "host", "sender: host"),
    (1, "core", "core"),
    (1, "DMA read", "DMA read"),
    (1, "DMA write", "DMA write"),
    (1, "link transmit", "link out"),
    (1, "link receive", "link in"),
    (0, "link receive", "receiver: link in"),
    (0, "link transmit", "link out"),
    (0, "DMA read", "DMA read"),
    (0, "DMA write", "DMA write"),
    (0, "core", "core"),
    (0, "host", "host"),
]
PLACES = {(host, resource): place for place, (host, resource, _) in enumerate(LANES)}
TALL = {"core": 2.4}


def lane_spans():
    """Top and height of each lane."""
    spans, top = [], 0.0
    for host, resource, _ in LANES:
        if (host, resource) == (0, "link receive"):
            top += 0.5
        height = TALL.get(resource, 1.0)
        spans.append((top, height))
        top += height + 0.25
    return spans, top


def shorten(label):
    for long, short in (("tx ", ""), ("rx ", ""), (" (data)", ""), (" (ack)", ""),
                        (" (control)", ""), ("tcp/udp", "TCP"), ("process", ""),
                        ("media rcv", "media"), ("build ", "")):
        label = label.replace(long, short)
    return label.strip()


def color(activity):
    return style.KINDS.get(activity["kind"], style.KINDS["engine"])


def draw_activities(axes, activities, spans, end):
    for activity in activities:
        key = (activity["host"], activity["resource"])
        if key not in PLACES or activity["start_us"] > end:
            continue
        top, height = spans[PLACES[key]]
        width = activity["end_us"] - activity["start_us"]
        axes.barh(top + height / 2, width, height, left=activity["start_us"],
                  color=color(activity), edgecolor="white", linewidth=0.4)
        text = shorten(activity["label"])
        upright = activity["resource"] == "core"
        share = width / end
        fits = share > 0.0105 if upright else share > 0.0085 * len(text)
        if fits:
            axes.text(activity["start_us"] + width / 2, top + height / 2, text, ha="center",
                      va="center", rotation=90 if upright else 0, fontsize=6.5,
                      color="white" if activity["kind"] in ("transmit data", "receive data", "host")
                      else "black")


def draw_path(axes, path, spans):
    """A line through what was waited for, from lane to lane."""
    points = []
    for step in path:
        resource = "link transmit" if step["resource"] == "link" else step["resource"]
        key = (step["host"], resource)
        if key not in PLACES:
            points.append((step["end_us"], points[-1][1] if points else 0))
            continue
        top, height = spans[PLACES[key]]
        level = top + height + 0.09
        points += [(step["start_us"], level), (step["end_us"], level)]
    axes.plot(*zip(*points), color="crimson", linewidth=1.4, solid_joinstyle="round")


def draw_shares(axes, path):
    """What the path to the receiver is made of."""
    shares = {}
    for step in path:
        shares[step["resource"]] = shares.get(step["resource"], 0) + step["end_us"] - step["start_us"]
    colors = {"core": "#1f6fb4", "DMA read": "#8a8a8a", "DMA write": "#bdbdbd", "link": "#e8a33d",
              "host": style.KINDS["host"], "waiting": "#f2d7d5"}
    total = sum(shares.values())
    left = 0
    for resource, value in sorted(shares.items(), key=lambda one: -one[1]):
        axes.barh(0, value, 0.8, left=left, color=colors.get(resource, "#cccccc"))
        if value / total > 0.05:
            axes.text(left + value / 2, 0, f"{resource}\n{style.number(value)} µs", ha="center",
                      va="center", fontsize=7, color="white" if resource in ("core", "host",
                                                                             "DMA read") else "black")
        left += value
    axes.set_xlim(0, total)
    axes.set_yticks([0], ["critical path"])
    handles = [Patch(color=colors.get(resource, "#cccccc"),
                     label=f"{resource} {style.number(value)} µs ({100 * value / total:.0f}%)")
               for resource, value in sorted(shares.items(), key=lambda one: -one[1])]
    axes.legend(handles=handles, ncol=len(handles), fontsize=8, loc="lower center",
                bbox_to_anchor=(0.5, 1.0))
    axes.set_xlabel("from PostSend to the receiver's completion [µs]")
    axes.spines["left"].set_visible(False)


def draw(life):
    spans, bottom = lane_spans()
    activities = life["activities"] + life["host_activities"]
    end = max(activity["end_us"] for activity in activities)
    figure, (axes, shares) = plt.subplots(2, 1, figsize=(13, 8.6), height_ratios=[9, 1],
                                          layout="constrained")
    draw_activities(axes, activities, spans, end)
    draw_path(axes, life["path_to_receiver"], spans)
    axes.axvline(life["metrics"]["received_us"], color="black", linewidth=0.7, linestyle=":")
    axes.text(life["metrics"]["received_us"], bottom + 0.15, " received", fontsize=8, ha="left",
              va="top")
    axes.set_yticks([top + height / 2 for top, height in spans], [name for _, _, name in LANES])
    axes.set_ylim(bottom + 0.8, -0.3)
    axes.set_xlim(-0.005 * end, end * 1.01)
    axes.set_xlabel("virtual time since PostSend [µs]")
    handles = [Patch(color=value, label=name if name != "engine" else "DMA engines and link")
               for name, value in style.KINDS.items()]
    handles.append(plt.Line2D([], [], color="crimson", label="critical path to the receiver"))
    axes.legend(handles=handles, ncol=7, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    draw_shares(shares, life["path_to_receiver"])
    size = f"{life['bytes']} byte" + ("s" if life["bytes"] != 1 else "")
    figure.suptitle(f"Life of a message of {size}: {style.number(life['metrics']['received_us'])} µs "
                    f"to the receiver, {style.number(life['metrics']['completed_us'])} µs until its acknowledgement is known",
                    x=0.012, ha="left", fontsize=11, fontweight="bold")
    return figure
