"""A library against the list of symbols that the one it stands for exports: symbols_test.py LIBRARY LIST.

Each must be there, in its version, and what else the library exports is its own (QPIP_VERBS)."""
import subprocess
import sys

library, list_file = sys.argv[1:]
with open(list_file, encoding="ascii") as lines:
    wanted = {line.strip() for line in lines}
found = set()
strangers = []
output = subprocess.run(["nm", "-D", "--defined-only", library], check=True, capture_output=True, text=True).stdout
for line in output.splitlines():
    name = line.split()[-1].replace("@@", "@")
    if line.split()[-2] == "A":  # a version's own name
        continue
    (found.add if name in wanted else strangers.append)(name)
strangers = [name for name in strangers if not name.endswith("@QPIP_VERBS")]
for name in sorted(wanted - found):
    print(f"{library}: lacks {name}")
for name in strangers:
    print(f"{library}: exports {name}, which nobody asked for")
sys.exit(bool(wanted - found or strangers))
