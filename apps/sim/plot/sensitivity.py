"""How much each of the six figures depends on what the paper leaves open, as a map of changes."""
import matplotlib.pyplot as plt
from matplotlib.colors import TwoSlopeNorm

import style

SHOWN = 0.002  # changes below this in every figure are not drawn

SHORT = {
    "rtt_udp": "RTT\nUDP",
    "rtt_tcp": "RTT\nTCP",
    "ttcp_native": "ttcp\n16 KiB",
    "ttcp_9000": "ttcp\n9000",
    "ttcp_1500": "ttcp\n1500",
    "ttcp_firmware_checksum": "ttcp\nfw. checksum",
}


def largest(row):
    changes = [abs(value) for value in row["changes"].values() if value is not None]
    return max(changes, default=0)


def draw(sensitivity, figures):
    keys = sensitivity["figures"]
    switches = [row for row in sensitivity["rows"] if row["group"] == "switch"
                and largest(row) >= SHOWN]
    numbers = [row for row in sensitivity["rows"]
               if row["group"] == "number" and largest(row) >= SHOWN]
    rows = switches + numbers
    picture, axes = plt.subplots(figsize=(10.5, 1.8 + 0.31 * len(rows)), layout="constrained")
    cells = [[100 * (row["changes"][key] or 0) for key in keys] for row in rows]
    axes.imshow(cells, aspect="auto", cmap="RdBu_r", norm=TwoSlopeNorm(0, -20, 20))
    for y, row in enumerate(rows):
        for x, key in enumerate(keys):
            change = row["changes"][key]
            if change is None:
                text = "failed"
            elif abs(change) < 0.0005:
                text = "·"
            else:
                text = f"{100 * change:+.1f}"
            strong = change is not None and abs(change) > 0.13
            axes.text(x, y, text, ha="center", va="center", fontsize=8,
                      color="white" if strong else "black")
    errors = {one["key"]: one["error"] for one in figures}
    labels = [f"{row['name']}  {row['change']}" for row in rows]
    axes.set_yticks(range(len(rows)), labels, fontsize=8)
    axes.set_xticks(range(len(keys)), [f"{SHORT.get(key, key)}\n{style.percent(errors[key])}" for key in keys])
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.axhline(len(switches) - 0.5, color="black", linewidth=1)
    axes.text(-0.01, 1.005, "error against the paper", transform=axes.transAxes, ha="right",
              va="bottom", fontsize=8)
    axes.set_xlabel("change of the simulated figure [%]. Above the line: structural switches; "
                    "below: fitted\nand assumed numbers, 25% down and up, where any figure changes "
                    f"by at least {100 * SHOWN:.1f}%", fontsize=8)
    picture.suptitle("Sensitivity to what the paper leaves open", x=0.012, ha="left", fontsize=11,
                     fontweight="bold")
    return picture
