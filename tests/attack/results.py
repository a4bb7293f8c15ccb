#!/usr/bin/env python3
"""Judges the trials of attack_test.sh, and writes the report of them.

    results.py check [--strict] FILE              status 1 and what was not as it should be
    results.py report FILE PROCESSES NAME=VALUE...    docs/robustness.md, from its template
"""

import argparse
import json
import os
import re
import statistics
import sys

# Of an attacker whose source address may be anybody's.
SPOOFED = ("stranger", "neighbour", "blind")
PHASES = ("before", "during", "settling", "after")


def load(path):
    """{kind: {"qpip": [trial...], "kernel": [trial...]}}, in the order of the file."""
    kinds = {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            result = json.loads(line)
            trial = result["trial"]
            trial["left"] = result["left"]
            kinds.setdefault(trial["kind"], {"qpip": [], "kernel": []})[result["victim"]].append(trial)
    return kinds


def share(trial, name, phase="during"):
    """What is left of a rate in a phase of its rate before."""
    before = trial["before"][name]
    return trial[phase][name] / before if before else 0.0


def faults(trial):
    """What must hold on every machine, however busy."""
    for phase in PHASES:
        served = trial[phase]
        for fault in ("resets", "refused", "timeouts"):
            if served[fault]:
                yield f"{served[fault]} {fault} {phase}"
    for phase in ("before", "during", "after"):
        for name in ("echoes_per_second", "datagrams_per_second", "visits"):
            if not trial[phase][name]:
                yield f"no {name} {phase}"
    if trial["attacker"] in SPOOFED and trial["out_for_in"] > 1.2:
        yield f"{trial['out_for_in']:.2f} bytes out for each in"
    if trial["left"]["sessions"] > 0:
        yield f"{trial['left']['sessions']} queue pairs are left"
    if trial["left"]["kibibytes"] > 65536:
        yield f"{trial['left']['kibibytes']} KiB are left"


def median(trials, of):
    return statistics.median(of(trial) for trial in trials)


def strict_faults(ours, kernels):
    """What must hold beside the kernel, on a machine that does nothing else: of the medians."""
    for name in ("echoes_per_second", "datagrams_per_second"):
        mine = median(ours, lambda t: share(t, name))
        theirs = median(kernels, lambda t: share(t, name))
        if mine < min(theirs, 1.0) - 0.10:
            yield f"{mine:.2f} of {name}, the kernel {theirs:.2f}"
    mine = median(ours, lambda t: t["during"]["connect_p99_ms"])
    theirs = median(kernels, lambda t: t["during"]["connect_p99_ms"])
    if mine > theirs + 5:
        yield f"connects p99 {mine:.1f} ms, the kernel {theirs:.1f} ms"


def check(kinds, strict):
    wrong = 0
    for kind, victims in kinds.items():
        ours, kernels = victims["qpip"], victims["kernel"]
        if not ours or not kernels:
            wrong += 1
            print(f"FAILED: {kind}: there is no trial of {'queue pairs' if not ours else 'the kernel'}")
            continue
        found = [fault for trial in ours for fault in faults(trial)]
        if strict:
            found += strict_faults(ours, kernels)
        wrong += bool(found)
        print("%s: %s: echoes %.2f of before (kernel %.2f), datagrams %.2f (%.2f), connects p99 %.2f ms (%.2f), "
              "after %.2f (%.2f), %.2f bytes out for each in (%.2f), %.1f MB/s out (%.1f), %d packets%s"
              % ("FAILED" if found else "ok", kind,
                 median(ours, lambda t: share(t, "echoes_per_second")),
                 median(kernels, lambda t: share(t, "echoes_per_second")),
                 median(ours, lambda t: share(t, "datagrams_per_second")),
                 median(kernels, lambda t: share(t, "datagrams_per_second")),
                 median(ours, lambda t: t["during"]["connect_p99_ms"]),
                 median(kernels, lambda t: t["during"]["connect_p99_ms"]),
                 median(ours, lambda t: share(t, "echoes_per_second", "after")),
                 median(kernels, lambda t: share(t, "echoes_per_second", "after")),
                 median(ours, lambda t: t["out_for_in"]), median(kernels, lambda t: t["out_for_in"]),
                 median(ours, lambda t: t["out_per_second"] / 1e6),
                 median(kernels, lambda t: t["out_per_second"] / 1e6),
                 sum(t["packets"] for t in ours), "".join(f"; {fault}" for fault in found)))
    return 1 if wrong else 0


def row(kind, victims):
    def both(of, form="%.2f"):
        return f"{form} (%s)" % (median(victims["qpip"], of), form % median(victims["kernel"], of))

    ours = victims["qpip"]
    return "| `%s` | %s | %s | %s | %s | %s ms | %s | %s |" % (
        kind, ours[0]["attacker"], ours[0]["what"], both(lambda t: share(t, "echoes_per_second")),
        both(lambda t: share(t, "datagrams_per_second")), both(lambda t: t["during"]["connect_p99_ms"], "%.1f"),
        both(lambda t: share(t, "echoes_per_second", "after")),
        both(lambda t: t["out_for_in"]) if ours[0]["attacker"] in SPOOFED else "")


def report(kinds, processes, values):
    """The template with its places filled in."""
    unfinished = [kind for kind, victims in kinds.items() if not victims["qpip"] or not victims["kernel"]]
    kinds = {kind: victims for kind, victims in kinds.items() if kind not in unfinished}
    packets = ["| kind | attacker | what it sends | echoes | datagrams | connects | after | out |",
               "| --- | --- | --- | --- | --- | --- | --- | --- |"]
    packets += [row(kind, victims) for kind, victims in kinds.items()]
    packets.append("")
    for kind, victims in kinds.items():
        found = [fault for trial in victims["qpip"] for fault in faults(trial)]
        found += strict_faults(victims["qpip"], victims["kernel"])
        packets += [f"- `{kind}`: {fault}." for fault in found]
    packets += [f"- `{kind}`: **has not come to an end**." for kind in unfinished]
    spoofed = [t for victims in kinds.values() for t in victims["qpip"] if t["attacker"] in SPOOFED]
    values["amplification"] = "%.2f" % max(t["out_for_in"] for t in spoofed)
    rounds = max(len(victims["qpip"]) for victims in kinds.values())
    values["rounds"] = f"{rounds} round" + ("s" if rounds != 1 else "")
    values["rate"] = f"{spoofed[0]['rate']:,}"
    values["seconds"] = f"{spoofed[0]['seconds']:g}"
    values["packets"] = "\n".join(packets).rstrip()
    rows = ["| what is done | what holds | cases | seconds |", "| --- | --- | --- | --- |"]
    for line in processes:
        kind = json.loads(line)
        said = f"{kind['passed']} passed" + (f", {kind['failed']} **failed**" if kind["failed"] else "")
        rows.append(f"| {kind['what']} | {kind['holds']} | {said} | {kind['seconds']:.0f} |")
    values["processes"] = "\n".join(rows)
    with open(os.path.join(os.path.dirname(__file__), "robustness.md.in"), encoding="utf-8") as file:
        return re.sub(r"@(\w+)@", lambda match: values[match[1]], file.read())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    judge = commands.add_parser("check")
    judge.add_argument("--strict", action="store_true")
    judge.add_argument("file")
    write = commands.add_parser("report")
    write.add_argument("file")
    write.add_argument("processes")
    write.add_argument("values", nargs="*", metavar="NAME=VALUE")
    arguments = parser.parse_args()
    kinds = load(arguments.file)
    if arguments.command == "check":
        return check(kinds, arguments.strict)
    with open(arguments.processes, encoding="utf-8") as file:
        print(report(kinds, file, dict(value.split("=", 1) for value in arguments.values)), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
