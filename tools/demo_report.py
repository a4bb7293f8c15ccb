#!/usr/bin/env python3
"""Prints what tools/demo has measured (its directory is the argument) on one page, or as JSON."""

import json
import statistics
import sys
from pathlib import Path

TTCP_SIZES = {16384: "16 KiB", 65536: "64 KiB", 1048576: "1 MiB"}


def last_object(path):
    """The commands print one JSON object a line; the result is the last."""
    return json.loads(path.read_text().strip().splitlines()[-1])


def median(raw, pattern, value):
    found = [value(last_object(path)) for path in sorted(raw.glob(pattern))]
    if not found:
        raise SystemExit(f"demo_report: no {pattern} in {raw}")
    return statistics.median(found)


def kernel_rounds(raw, case, contender):
    """(value, CPU) of every round of one case; see bench/compare for the units."""
    found = []
    for path in sorted(raw.glob("kernel-*.json")):
        for entry in json.loads(path.read_text())["cases"]:
            for series in entry["contenders"]:
                if entry["name"] == case and series["contender"] == contender:
                    found.append((series["median"], series["cpu"]))
    return found


def round_trips(raw):
    rows = []
    for transport in ("tcp", "udp"):
        for completion, contender, words in (("--poll", "kernel-poll", "polling"),
                                             ("--wait", "kernel-block", "sleeping")):
            pattern = f"ping-{transport}{completion}-*.json"
            kernel = kernel_rounds(raw, f"{transport}-rtt", contender)
            rows.append({
                "what": f"{transport.upper()} 1-byte round trip, {words}", "unit": "us",
                "qpip": median(raw, pattern, lambda r: r["mean_us"]),
                "kernel": statistics.median(value for value, _ in kernel),
                # A round trip is two messages, and compare adds both processes' time.
                "qpip_cpu_us": median(raw, pattern, lambda r: r["cpu_us_per_message"]),
                "kernel_cpu_us": statistics.median(cpu for _, cpu in kernel) / 4,
            })
    return rows


def transfers(raw):
    rows = []
    for size, label in TTCP_SIZES.items():
        kernel = kernel_rounds(raw, f"tcp-{size}", "kernel-poll")
        cpu = [median(raw, pattern, lambda r: r["cpu_seconds"] / r["messages"] * 1e6)
               for pattern in (f"ttcp-{size}-*.json", f"ttcp-receive-{size}-*.json")]
        rows.append({
            "what": f"ttcp, {label} messages, polling", "unit": "GB/s",
            "qpip": median(raw, f"ttcp-{size}-*.json", lambda r: r["bytes_per_second"] / 1e9),
            "kernel": statistics.median(value for value, _ in kernel),
            "qpip_cpu_us": sum(cpu) / 2,
            "kernel_cpu_us": statistics.median(c for _, c in kernel) * size / 1e9 * 1e6 / 2,
        })
    return rows


def print_comparison(rows):
    print(f"{'':38} {'QPIP shm:':>12} {'kernel ::1':>12} {'QPIP/kernel':>12}"
          f" {'CPU µs a message*':>19}")
    for row in rows:
        print(f"{row['what']:38} {row['qpip']:>7.2f} {row['unit'].replace('us', 'µs'):<4}"
              f" {row['kernel']:>7.2f} {row['unit'].replace('us', 'µs'):<4}"
              f" {row['qpip'] / row['kernel']:>12.2f}"
              f" {row['qpip_cpu_us']:>9.2f} {row['kernel_cpu_us']:>9.2f}")
    print("* QPIP, kernel: user and system time of one process a message. Neither computes checksums.")


def main():
    as_json = sys.argv[1:2] == ["--json"]
    out = Path(sys.argv[-1])
    rows = round_trips(out / "raw") + transfers(out / "raw")
    storage = json.loads((out / "nbd.json").read_text())
    megabytes = storage["bytes"] / 1e6
    result = {"comparison": rows, "storage": storage, "pcap": str(out / "ping.pcap"),
              "timeline": str(out / "timeline.json")}
    (out / "results.json").write_text(json.dumps(result, indent=2))
    if as_json:
        print(json.dumps(result, indent=2))
        return
    print("QPIP: queue pairs over TCP, UDP and IPv6. Two processes, a core each; medians of the rounds.\n")
    print_comparison(rows)
    print("\nWhere the firmware's time goes, a segment of 16 KiB (medians; reading the clock costs 26 cycles):")
    print((out / "occupancy.txt").read_text())
    print(f"ext2 image of {megabytes:.0f} MB through qpip-nbd-client and -server:"
          f" nbdcopy in {megabytes / storage['in_seconds']:.0f} MB/s,"
          f" out {megabytes / storage['out_seconds']:.0f} MB/s")
    print(f"  SHA-256 the same on all three copies: {storage['sha256'][:32]}...")
    print(f"  e2fsck -fn: {storage['e2fsck'].strip()}")
    print(f"\nPackets (Wireshark):    {out / 'ping.pcap'}")
    print(f"Timeline (Perfetto):    {out / 'timeline.json'}")
    print(f"All rounds and results: {out / 'results.json'}, {out / 'raw'}/")


if __name__ == "__main__":
    main()
