#!/usr/bin/env bash
# qpip-sim paper and occupancy: what they write is complete, well-formed, the same twice, and what
# docs/reproducing-the-paper.md says.
#   sim_paper_test.sh BIN_DIR SOURCE_DIR [short]
# short: without the sensitivities, for builds that are slow; docs/ is not compared then.
set -euo pipefail

sim=$1/qpip-sim
source_dir=$2
mode=${3:-full}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() { echo "FAILED: $*" >&2; exit 1; }

"$sim" paper --no-sensitivity --out "$work/a" --report "$work/a" >/dev/null
"$sim" paper --no-sensitivity --jobs 1 --out "$work/b" --report "$work/b" >/dev/null
diff -r "$work/a" "$work/b" || fail "the same study gave other files"

if [[ $mode == full ]]; then
  "$sim" paper --out "$work/a" --report "$work/a" --markdown "$work/paper.md" >"$work/summary"
  cmp "$work/paper.md" "$source_dir/docs/reproducing-the-paper.md" ||
    fail "docs/reproducing-the-paper.md is not what qpip-sim paper --markdown writes: run it again"
fi

for name in table1 table2 table3 figure3 figure4; do
  for suffix in csv json png svg; do
    [[ -s $work/a/$name.$suffix ]] || fail "no $name.$suffix"
  done
done
python3 - "$work/a" <<'CHECK'
import json, re, sys
study = json.load(open(sys.argv[1] + "/paper.json"))
for table in study["artifacts"]:
    if table["key"] in ("table2", "table3"):
        for row in table["rows"]:
            assert abs(row["error"]) < 1e-3, row
for figure in study["figures"]:
    assert abs(figure["error"]) <= 0.05, figure["title"]
# What does not hold is known, and in docs/reproducing-the-paper.md.
broken = [claim["title"] for claim in study["claims"] if not claim["holds"]]
assert broken == ["NBD over QPIP over NBD over sockets, throughput, the least",
                  "NBD over QPIP over NBD over sockets, throughput, the most",
                  "NBD over QPIP over NBD over sockets, MB a CPU second, the most"], broken
assert sum(claim["counted"] for claim in study["claims"]) == 8, study["claims"]
for row in study.get("sensitivity", {}).get("rows", []):
    assert "failed" not in row, row
page = open(sys.argv[1] + "/index.html").read()
outside = [link for link in re.findall(r'(?:src|href)="([^"]*)"', page)
           if not link.startswith(("data:", "#"))]
assert not outside, outside
assert "/" + "tmp" not in page, "the report names a place on this machine"
CHECK

"$sim" occupancy ttcp bytes=1000000 --timeline "$work/timeline.json" --out "$work/c" >"$work/text"
grep -q "critical path of message" "$work/text" || fail "no critical path"
python3 -c 'import json, sys; json.load(open(sys.argv[1]))' "$work/timeline.json"
for file in occupancy.csv occupancy.json occupancy.png path.svg; do
  [[ -s $work/c/$file ]] || fail "no $file"
done

status=0
touch "$work/file"
"$sim" paper --no-sensitivity --out "$work/file/x" 2>"$work/error" >/dev/null || status=$?
[[ $status == 1 ]] || fail "exit status $status for a directory that cannot be made"
[[ $(wc -l <"$work/error") == 1 ]] || fail "not one line: $(cat "$work/error")"
