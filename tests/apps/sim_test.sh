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
for subcommand in run sweep occupancy paper list show; do
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
expect 2 "nothing is varied" sweep ttcp --out "$work/x"
expect 2 "where the results go" sweep ttcp --vary link.mtu=1500
expect 2 "a value is empty" sweep ttcp --vary link.mtu=1500,,9000 --out "$work/x"
expect 2 "accepted" sweep ttcp --vary link.mtu=1500,1 --out "$work/x"
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
finish
