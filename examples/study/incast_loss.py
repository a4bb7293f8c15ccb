#!/usr/bin/env python3
"""Incast over link rate and loss, ten seeds each: runs the sweep, reads it, prints what came out.

    incast_loss.py QPIP_SIM DIRECTORY [name=value ...]

DIRECTORY receives the sweep; the same again reads what is there. Further arguments are the scenario's. Without
an installed QPIP, the reader is found in the checkout.
"""
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "apps/sim/python"), "/usr/share/qpip/python", "/usr/local/share/qpip/python"]
import qpip_study  # noqa: E402  (after the places it may lie in)


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sim, directory, *arguments = sys.argv[1:]
    subprocess.run([sim, "sweep", "incast", *(arguments or ["nics=33", "messages=16", "topology=fat-tree"]),
                    "--profile", "lanai9-hardware-checksum+modern-tcp", "--vary", "link.bits_per_s=2G,10G",
                    "--vary", "loss=0,0.001,0.01", "--repeat", "10", "--out", directory,
                    "--plot", "throughput_MB_per_s"], check=True, stdout=subprocess.DEVNULL)
    study = qpip_study.load(directory)
    print(f"Throughput in MB/s: mean (95% interval) of {study.info['repeat']} seeds, QPIP {study.info['version']}\n")
    print(study.table("link.bits_per_s", "loss", "throughput_MB_per_s"))
    print("\nWhat was the limit\n")
    print(study.table("link.bits_per_s", "loss", "bottleneck", lambda row: row["bottleneck"]))


if __name__ == "__main__":
    main()
