#!/bin/sh
# qpip-perf against itself: every operation, latency and bandwidth, every byte compared. Usage: perf_test.sh BIN_DIR
. "$(dirname "$0")/library.sh" "$1"

# json FILE EXPRESSION: evaluates a Python expression on the last JSON line of a file, as `r`.
json() {
  python3 -c '
import json, sys
r = json.loads(open(sys.argv[1]).read().splitlines()[-1])
sys.exit(0 if eval(sys.argv[2], {"r": r}) else "not so: %s" % r)' "$1" "$2"
}
# perf LABEL EXPRESSION ARGUMENTS...: a client, the last of whose lines must be as the expression says.
perf() {
  label=$1 expression=$2
  shift 2
  check "$label" timeout 60 "$bin/qpip-perf" --nic "$nic" --json --verify "$@" fd00::1
  cp "$work/check.out" "$work/perf.json"
  check "$label: result" json "$work/perf.json" "r['verified'] and not 'error' in r and $expression"
}
times="0 < r['min_us'] <= r['median_us'] <= r['p90_us'] <= r['p99_us'] <= r['p99_9_us'] <= r['p99_99_us'] <= r['max_us']"
rates="r['gb_per_second'] > 0 and r['messages_per_second'] > 0 and r['bytes'] == r['messages'] * r['length']"

# beside ARGUMENTS...: starts a client that would take long, in the background, and waits until the server, whose
# output is $work/server.out, has it. Sets $client.
beside() {
  before=$(wc -l <"$work/server.out")
  "$bin/qpip-perf" --nic "$fabric" --json -n 100000000 "$@" fd00::1 >"$work/beside" 2>"$work/err" &
  client=$!
  pids="$pids $client"
  tries=0
  while [ "$(wc -l <"$work/server.out")" -le "$before" ] && [ $tries -lt 3000 ]; do
    tries=$((tries + 1))
    sleep 0.01
  done
  [ $tries -lt 3000 ] || fail "no client has come: $(cat "$work/err")"
}

# all NIC: every operation over one wire.
all() {
  nic=$1
  for operation in write read send atomic; do
    perf "$nic, $operation, latency" "r['messages'] == 200 and $times" -n 200 --warm-up 10 $operation
    perf "$nic, $operation, bandwidth" "r['messages'] == 300 and $rates" -b -n 300 --warm-up 20 $operation
    perf "$nic, $operation, few messages" "r['messages'] == 10 and $rates" -b -n 10 $operation
    [ $operation = atomic ] && continue
    perf "$nic, $operation, long messages" "r['length'] == 300000 and $rates" -b -n 20 --warm-up 0 --depth 5 -l 300000 \
      $operation
    perf "$nic, $operation, one at a time" "r['messages'] == 30 and $rates" -b -n 30 --warm-up 0 --depth 1 -l 5000 \
      $operation
  done
}
start server "$bin/qpip-perf" -s --nic "$fabric" --json
server=$started
all "$fabric"
perf "polling" "r['mode'] == 'poll' and $times" --poll -n 500 write
perf "sizes" "r['length'] == 128" -a -l 128 -n 20 read
[ "$(wc -l <"$work/perf.json")" -eq 8 ] || fail "not one line for each of 8 sizes: $(cat "$work/perf.json")"
perf "histogram" "sum(b['count'] for b in r['histogram']) == 50" -n 50 --histogram send
perf "CRCs are on unless both ends want them off" "r['crc']" -n 20 --crc on write
perf "statistics" "len(r['nic']) > 0" -n 20 --statistics write
nic="$fabric?loss=0.01&seed=5&rto_min_us=2000&rto_initial_us=20000"
for operation in write read send; do
  perf "with losses, $operation" "r['crc'] is not None and $rates" -b -n 200 -l 4000 $operation
done

# What is said wrongly, and who is not there.
timeout 20 "$bin/qpip-perf" --nic "$fabric" put fd00::1 >"$work/out" 2>"$work/err"
[ $? -eq 2 ] || fail "an operation that there is not: $(cat "$work/err")"
timeout 20 "$bin/qpip-perf" --nic "$fabric" -l 4 atomic fd00::1 >"$work/out" 2>"$work/err"
[ $? -eq 2 ] || fail "atomic with a length: $(cat "$work/err")"
timeout 20 "$bin/qpip-perf" --nic "$fabric" --wait-for-server 0 -p 9 write fd00::1 >"$work/out" 2>"$work/err"
[ $? -eq 1 ] || fail "nobody there: $(cat "$work/err")"
grep -q "refused" "$work/err" || fail "nobody there says: $(cat "$work/err")"
say "ok: bad usage, and nobody there"

# A client that dies ends its own test only.
beside write
kill -KILL "$client"
wait "$client" 2>/dev/null
nic=$fabric
perf "after the death of a client" "$times" -n 100 write
stop "$server"
check "the server tells what it has served" json "$work/server.out" "r['clients'] > 20 and r['failed'] <= 1"

# A server that goes ends the client, which says so and what it has. It goes when it has served for a while: by then
# the client has measured something.
ticks() { awk '{print $14 + $15}' "/proc/$1/stat"; }
start server "$bin/qpip-perf" -s --nic "$fabric" --once
server=$started
beside --warm-up 0 read
before=$(ticks "$server")
tries=0
while [ "$(ticks "$server")" -lt $((before + 10)) ] && [ $tries -lt 3000 ]; do
  tries=$((tries + 1))
  sleep 0.01
done
[ $tries -lt 3000 ] || fail "the server does not serve: $(cat "$work/err")"
kill -TERM "$server"
status_of "$client" 20
[ "$status" -eq 1 ] || fail "the server has gone: status $status: $(cat "$work/err")"
status_of "$server" 10
check "the server has gone: what was measured" json "$work/beside" "r['messages'] > 0 and r['error']"

finish
