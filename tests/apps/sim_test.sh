#!/bin/sh
# qpip-sim: bad usage of each subcommand, the same result twice, and a sweep that is killed and goes
# on. Usage: sim_test.sh BIN_DIR
. "$(dirname "$0")/library.sh" "$1"
sim=$bin/qpip-sim

# expect STATUS TEXT ARGUMENTS...: must fail with the status and one line on stderr with TEXT.
expect() {
  want=$1 text=$2
  shift 2
  timeout 60 "$sim" "$@" >"$work/out" 2>"$work/err"
  got=$?
  [ "$got" -eq "$want" ] || fail "$*: status $got, not $want: $(cat "$work/err")"
  [ "$(wc -l <"$work/err")" -eq 1 ] || fail "$*: not one line: $(cat "$work/err")"
  grep -q -- "$text" "$work/err" || fail "$*: no '$text' in: $(cat "$work/err")"
  say "tried: $* -> $got"
}

check "--help" "$sim" --help
for subcommand in run sweep merge occupancy paper list show; do
  check "$subcommand --help" "$sim" $subcommand --help
  expect 2 "unknown-option" $subcommand --unknown-option
done
expect 2 "subcommand"
expect 2 "no subcommand" nonsense
expect 2 "scenario" run
expect 2 "no scenario" run nonsense
expect 2 "no parameter" run ping nonsense=1
expect 2 "accepted" run ping count=-1
expect 2 "name=value" run ping count
expect 2 "topology" run ping topology=ring
expect 2 "no profile" run ping --profile nonsense
expect 2 "cannot read" run ping --profile ./nonsense.toml
expect 2 "is a delta" run ping --profile overlapped-dma
expect 2 "did you mean" run ping --set core.herz=1
expect 2 "accepted" run ping --set core.hz=0
expect 2 "name=number" run ping --set core.hz
"$sim" run ping count=3 2>"$work/cost" >/dev/null && grep -q "events/s.*us a packet.*kB a NIC" "$work/cost" || fail "run says nothing of its cost: $(cat "$work/cost")"
expect 2 "what to list" list
expect 2 "whose metrics" list metrics
expect 2 "no scenario" list metrics nonsense
expect 2 "too many" list profiles nonsense
expect 2 "out of range" run ping --repeat 0
expect 2 "random" run message --repeat 3
expect 2 "no axis" sweep ping --vary seed=1,2 --out "$work/x"
expect 2 "no metric of that name" sweep ping --vary count=1,2 --plot nonsense --out "$work/x"
expect 2 "there twice" sweep ttcp --vary message=64K,65536 --out "$work/x"
[ -e "$work/x" ] && fail "a sweep that was refused has made its directory"
expect 2 "nothing is varied" sweep ttcp --out "$work/x"
expect 2 "where the results go" sweep ttcp --vary link.mtu=1500
expect 2 "a value is empty" sweep ttcp --vary link.mtu=1500,,9000 --out "$work/x"
expect 2 "accepted" sweep ttcp --vary link.mtu=1500,1 --out "$work/x"
expect 2 "directories of a sweep" merge --out "$work/x"
expect 1 "cannot" sweep ttcp --vary link.mtu=1500 --out /proc/nonsense
printf 'summary = "x"\n[core]\nhz = 5\n' >"$work/bare.toml"
expect 2 "bare.toml:3" run ping --profile "$work/bare.toml"
printf 'summary = "x"\n[core\n' >"$work/broken.toml"
expect 2 "broken.toml:2" run ping --profile "$work/broken.toml"

# The same seed twice: the same bytes. Another seed: others.
lossy="run ttcp bytes=1000000 loss=0.02 --json"
"$sim" $lossy seed=5 >"$work/one" && "$sim" $lossy seed=5 >"$work/two" && "$sim" $lossy seed=6 >"$work/three"
cmp -s "$work/one" "$work/two" || fail "the same seed gave two results"
cmp -s "$work/one" "$work/three" && fail "two seeds gave one result"

# Every counter of the NICs, and their packets: a round trip is two segments.
"$sim" run ping count=20 --json --pcap "$work/pcap" >"$work/counted" 2>/dev/null || fail "run --pcap"
python3 -c '
import json, struct, sys
result = json.load(open(sys.argv[1]))
details = result["details"]
server, client = details["nics"]
assert details["counters"]["tcp_segments_sent"] == server["tcp_segments_sent"] + client["tcp_segments_sent"]
assert server["tcp_segments_sent"] >= 20 and client["completions"] >= 20, details
assert "connections_established" not in server, "set-up is counted"
assert 1 <= result["metrics"]["doorbell_depth_max"] <= 4, result["metrics"]
for host in range(2):
    file = open(f"{sys.argv[2]}-{host}.pcap", "rb")
    assert struct.unpack("<I", file.read(4))[0] == 0xa1b23c4d  # nanoseconds
    packets = 0
    file.seek(24)
    while header := file.read(16):
        packet = file.read(struct.unpack("<I", header[8:12])[0])
        assert packet[0] >> 4 == 6, packet[:8]
        packets += 1
    assert packets > 40, packets' "$work/counted" "$work/pcap" || fail "counters or packets are not right"
"$sim" run ttcp bytes=20000 message=64 --set doorbell.entries=1 --json 2>/dev/null >"$work/counted"
python3 -c '
import json, sys
result = json.load(open(sys.argv[1]))["metrics"]
assert result["doorbell_overflows"] > 0 and result["doorbell_depth_max"] == 1, result' "$work/counted" ||
  fail "a doorbell FIFO of one entry"
expect 2 "of one run" run ping --repeat 2 --pcap "$work/x"
expect 1 "cannot write" run ping --pcap /proc/nonsense/x

# A sweep that is killed when its first results are there, and one that was not.
sweep="sweep ttcp bytes=3000000 --vary link.mtu=1500:9000:6 --vary protocol.ack_every=1,2,4 --jobs 1"
check "a sweep" "$sim" $sweep --out "$work/whole" --plot throughput_MB_per_s
[ -s "$work/whole/throughput_MB_per_s.png" ] || fail "the sweep drew nothing"
"$sim" $sweep --out "$work/cut" >/dev/null 2>&1 &
pid=$!
pids="$pids $pid"
while [ "$(ls "$work/cut/points" 2>/dev/null | grep -c 'json$')" -lt 2 ] && kill -0 $pid 2>/dev/null; do :; done
kill -KILL $pid 2>/dev/null
wait $pid 2>/dev/null
check "the sweep goes on" "$sim" $sweep --out "$work/cut" --plot throughput_MB_per_s
cmp -s "$work/whole/sweep.csv" "$work/cut/sweep.csv" || fail "the interrupted sweep has another result"
cmp -s "$work/whole/sweep.json" "$work/cut/sweep.json" || fail "the interrupted sweep has another sweep.json"
expect 2 "another sweep" sweep ttcp --vary link.mtu=1500 --out "$work/cut"
# More activities than a recording holds: their shares are of the time that it covers.
"$sim" occupancy ttcp bytes=2G --json >"$work/full.json" 2>"$work/err" || fail "a full recording"
grep -q "recording was full at" "$work/err" || fail "a full recording says: $(cat "$work/err")"
python3 -c '
import json, sys
study = json.load(open(sys.argv[1]))
assert study["truncated"] and study["occupancy"]["end_us"] < 0.9 * study["metrics"]["duration_us"], study["metrics"]
' "$work/full.json" || fail "the span of a full recording"
# A result that is called as an axis is there beside it.
"$sim" sweep ttcp --vary bytes=1M,2M --out "$work/named" >/dev/null 2>&1 || fail "a sweep over bytes"
python3 -c '
import csv, sys
rows = list(csv.DictReader(open(sys.argv[1])))
sizes = [1 << 20, 2 << 20]
assert [float(row["bytes"]) for row in rows] == [float(row["result_bytes"]) for row in rows] == sizes, rows
' "$work/named/sweep.csv" || fail "bytes and result_bytes"

# A point that fails is recorded, the others run; what brings no result leaves the directory free.
"$sim" sweep incast messages=1 --vary nics=4,300 --out "$work/failing" >/dev/null 2>"$work/err"
[ $? -eq 1 ] || fail "a sweep with a failed point has not status 1"
grep -q "1 of 2 points failed, the first: a switch has at most 256 ports" "$work/err" || fail "which point failed is not said: $(cat "$work/err")"
grep -q "^4,.*,$" "$work/failing/sweep.csv" || fail "no result of the point that is fine"
grep -q "^300,.*a switch has at most" "$work/failing/sweep.csv" || fail "the failed point has no error"
expect 1 "2 of 2 points failed" sweep nbd --vary bytes=1M,2M --out "$work/other"
check "the directory takes another sweep" "$sim" sweep ping --vary count=1,2 --out "$work/other"

# Ten seeds: the first is the run without --repeat; the intervals hold their means.
repeat="ttcp bytes=1M loss=0.02 --set link.mtu=9000 --profile lanai9-hardware-checksum+modern-tcp"
"$sim" run $repeat --json >"$work/once" 2>"$work/notes" && "$sim" run $repeat --repeat 10 --json >"$work/ten" 2>>"$work/notes" || fail "no run with --repeat"
check "a sweep with seeds" "$sim" sweep $repeat --repeat 3 --vary depth=4,16 --out "$work/seeds"
grep -q "one seed decides" "$work/notes" || fail "no note that one seed decides: $(cat "$work/notes")"
"$sim" run ttcp bytes=1M loss=0.02 --set link.mtu=9000 2>&1 >/dev/null | grep -q "modern-tcp" || fail "no note on the TCP of 2002"
python3 -B - "$work" "$(dirname "$0")/../../apps/sim/python" <<'CHECK' || fail "the results are not what they should be"
import json, sys
sys.path.insert(0, sys.argv[2])
import qpip_study
work = sys.argv[1]
once, ten = (json.loads(open(f"{work}/{name}").read()) for name in ("once", "ten"))
assert ten["runs"][0]["metrics"] == once["metrics"] and len(ten["runs"]) == 10
assert len({run["seed"] for run in ten["runs"]}) == 10
for name, mean in ten["metrics"].items():
    s = ten["statistics"][name]
    assert s["ci95_low"] <= mean <= s["ci95_high"] and s["min"] <= s["median"] <= s["max"], name
assert once["version"] and "commit" in once and once["arguments"]["depth"] == "16"
assert once["given"] == {"bytes": "1M", "loss": "0.02"} and once["arguments"]["bytes"] == "1048576"
assert once["parameters"]["link.mtu"] == 9000 and once["parameters"]["protocol.reassembly"] == 32
study = qpip_study.load(f"{work}/seeds")
assert [row["depth"] for row in study.rows] == [4, 16] and study.axes == ["depth"]
assert study.where(depth=16)[0]["throughput_MB_per_s_ci95_low"] > 0
assert study.table("depth", None, "throughput_MB_per_s").count("\n") == 3
assert qpip_study.load(f"{work}/ten").rows[0]["bytes"] == 1048576
failing = qpip_study.load(f"{work}/failing").rows
assert "error" in failing[1] and "error" not in failing[0]
CHECK
[ "$("$sim" run ping count=3 --json 2>/dev/null | wc -l)" -eq 1 ] || fail "--json is not one line"
finish
