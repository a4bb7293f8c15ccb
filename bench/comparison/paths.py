#!/usr/bin/env python3
"""QPIP between two hosts over paths with delay and loss, made by the fault wire, beside arithmetic.

    paths.py QPIP-COMPARE HOSTS [--rtt MS,...] [--loss P,...] [--rounds N] [--json] [--plot FILE]

HOSTS as qpip-compare --hosts has it. For each round-trip time and loss probability: messages of 16 KiB one way for
some two seconds, over udp: and wg:, both ends waiting. Beside them is what Reno gets at the best (Mathis et al., 1997),
segment size / round-trip time * sqrt(3 / (2 * loss)), and what the window allows without loss.
"""
import argparse
import json
import math
import subprocess
import sys

CONTENDERS = ["qpip-udp-wait", "qpip-wg-wait"]
MESSAGE = 16384
MESSAGES = 64000  # of qpip-compare's case
SEGMENT = {"qpip-udp-wait": 1452 - 72, "qpip-wg-wait": 1408 - 72}  # at an MTU of 1500
WINDOW = 64 * MESSAGE  # sent and not yet completed
SECONDS = 2
FASTEST = 500e6  # bytes a second, where nothing else bounds


def arithmetic(contender, rtt_s, loss):
    """Bytes a second, or None where neither time nor loss bounds."""
    window = WINDOW / rtt_s if rtt_s else math.inf
    reno = SEGMENT[contender] / rtt_s * math.sqrt(1.5 / loss) if rtt_s and loss else math.inf
    bound = min(window, reno)
    return bound if bound < math.inf else None


def measure(arguments, rtt_ms, loss):
    expected = min(FASTEST, *(arithmetic(c, rtt_ms / 1000, loss) or FASTEST for c in CONTENDERS))
    messages = min(MESSAGES, max(64, int(expected * SECONDS / MESSAGE)))
    query = f"&delay_us={int(rtt_ms * 500)}&loss={loss}"
    run = subprocess.run(
        [arguments.compare, "--hosts", arguments.hosts, "--query", query, "--cases", f"tcp-{MESSAGE}", "--contenders",
         ",".join(CONTENDERS), "--rounds", str(arguments.rounds), "--share", str(max(1, MESSAGES // messages)),
         "--timeout", "120", "--json"], stdout=subprocess.PIPE, text=True, check=False)
    if not run.stdout:
        raise SystemExit(f"paths.py: qpip-compare has measured nothing at {rtt_ms} ms, loss {loss}")
    rows = []
    for contender in json.loads(run.stdout)["cases"][0]["contenders"]:
        bound = arithmetic(contender["contender"], rtt_ms / 1000, loss)
        rows.append({"contender": contender["contender"], "rtt_ms": rtt_ms, "loss": loss,
                     "MB_per_s": None if "error" in contender else contender["median"] * 1000,
                     "least": None if "error" in contender else contender["min"] * 1000,
                     "most": None if "error" in contender else contender["max"] * 1000,
                     "arithmetic_MB_per_s": bound / 1e6 if bound else None, "error": contender.get("error")})
    return rows


def text(value):
    return "-" if value is None else f"{value:.3g}"


def plotter():
    """matplotlib, found before anything is measured."""
    try:
        import matplotlib  # pylint: disable=import-outside-toplevel
        matplotlib.use("Agg")
        from matplotlib import pyplot  # pylint: disable=import-outside-toplevel
    except ImportError:
        raise SystemExit(f"paths.py: cannot draw: {sys.executable} has no matplotlib: install python3-matplotlib, or run "
                         "this file by the system's Python") from None
    return pyplot


def plot(pyplot, rows, path):
    figure, axes = pyplot.subplots(figsize=(7, 4))
    for contender in CONTENDERS:
        for loss in sorted({row["loss"] for row in rows}):
            line = [r for r in rows if r["contender"] == contender and r["loss"] == loss and r["MB_per_s"]]
            axes.plot([r["rtt_ms"] for r in line], [r["MB_per_s"] for r in line], marker="o",
                      linestyle="-" if "udp" in contender else "--", label=f"{contender}, loss {loss}")
    axes.set_xscale("symlog")
    axes.set_yscale("log")
    axes.set_xlabel("round-trip time, ms")
    axes.set_ylabel("MB/s")
    axes.legend(fontsize="small")
    figure.savefig(path, bbox_inches="tight")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("compare")
    parser.add_argument("hosts")
    parser.add_argument("--rtt", default="1,10,100", help="milliseconds, comma-separated")
    parser.add_argument("--loss", default="0,0.001,0.01", help="probabilities each way, comma-separated")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--plot", metavar="FILE", help="a picture (needs matplotlib)")
    arguments = parser.parse_args()
    pyplot = plotter() if arguments.plot else None
    rows = []
    for rtt in map(float, arguments.rtt.split(",")):
        for loss in map(float, arguments.loss.split(",")):
            rows += measure(arguments, rtt, loss)
    if arguments.plot:
        plot(pyplot, rows, arguments.plot)
    if arguments.json:
        print(json.dumps({"message_bytes": MESSAGE, "window_bytes": WINDOW, "rounds": arguments.rounds, "paths": rows},
                         indent=2))
        return
    print(f"{'contender':14} {'RTT, ms':>8} {'loss':>6} {'MB/s':>8} {'least':>8} {'most':>8} {'arithmetic':>10}")
    for row in rows:
        print(f"{row['contender']:14} {row['rtt_ms']:8g} {row['loss']:6g} {text(row['MB_per_s']):>8} {text(row['least']):>8}"
              f" {text(row['most']):>8} {text(row['arithmetic_MB_per_s']):>10}"
              + (f"  {row['error']}" if row["error"] else ""))


if __name__ == "__main__":
    main()
