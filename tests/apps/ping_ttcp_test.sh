#!/bin/sh
# qpip-ping and qpip-ttcp against each other. Usage: ping_ttcp_test.sh BIN_DIR
. "$(dirname "$0")/library.sh" "$1"

# json FILE EXPRESSION: evaluates a Python expression on the last JSON line of a file, as `r`.
json() {
  python3 -c '
import json, sys
r = json.loads(open(sys.argv[1]).read().splitlines()[-1])
sys.exit(0 if eval(sys.argv[2], {"r": r}) else "not so: %s" % r)' "$1" "$2"
}

# ping LABEL EXPRESSION ARGUMENTS...
ping() {
  label=$1 expression=$2
  shift 2
  check "ping $label" timeout 60 "$bin/qpip-ping" --nic "${nic:-$fabric}" --json "$@" fd00::1
  cp "$work/check.out" "$work/ping.json"
  check "ping $label: result" json "$work/ping.json" "$expression"
}

start server "$bin/qpip-ping" -s --nic "$fabric"
server=$started
all="r['received'] == r['sent'] and r['lost'] == 0"
order="0 < r['min_us'] <= r['median_us'] <= r['p99_us'] <= r['max_us']"
ping "TCP, first client of a sleeping server" "$all and $order and r['transport'] == 'tcp'" -n 200
ping "UDP" "$all and $order and r['transport'] == 'udp'" -u -n 200
ping "TCP, polling" "$all and r['mode'] == 'poll'" --poll -n 2000
ping "UDP, polling" "$all" -u --poll -n 2000 -l 1000
ping "TCP, long messages" "$all and r['bytes'] == 65536" -l 64K -n 200

ping "warm-up and histogram" "$all and r['sent'] == 50 and r['warm_up'] == 20 and sum(b['count'] for b in r['histogram']) == 50" -n 50 --warm-up 20 --histogram
ping "all sizes" "r['bytes'] == 65536" -n 5 -a
[ "$(wc -l <"$work/ping.json")" -eq 17 ] || fail "not one line for each of 17 sizes: $(cat "$work/ping.json")"
ping "sizes up to a length" "r['bytes'] == 8" -n 5 -a -l 8
ping "the last percentiles" "$all and r['p99_us'] <= r['p99_9_us'] <= r['p99_99_us'] <= r['max_us']" -n 2000
ping "statistics" "$all and len(r['nic']) > 0" -n 10 --statistics

# Several clients at a time.
clients=""
for i in 1 2 3 4; do
  timeout 60 "$bin/qpip-ping" --nic "$fabric" -n 300 -l "${i}00" fd00::1 >"$work/ping$i" 2>&1 &
  clients="$clients $!"
  pids="$pids $!"
done
for client in $clients; do
  wait "$client" || fail "one of four clients: $(cat "$work"/ping?)"
done
say "ok: four clients at a time"

# A client that dies does not harm the others.
"$bin/qpip-ping" --nic "$fabric" -n 100000000 fd00::1 >"$work/dying" 2>&1 &
dying=$!
pids="$pids $dying"
ping "beside a client that is about to die" "$all" -n 100
kill -KILL "$dying"
wait "$dying" 2>/dev/null
ping "after the death of a client" "$all" -n 100
# A message longer than the server's receives ends that connection only.
timeout 20 "$bin/qpip-ping" --nic "$fabric" -l 128K -n 1 fd00::1 >"$work/long" 2>&1 &&
  fail "a message too long for the server was echoed"
grep -q "connection reset by the peer" "$work/long" || fail "too long a message: $(cat "$work/long")"
ping "after a message that was too long" "$all" -n 100
stop "$server"

# Lost datagrams are counted. The server computes checksums, the client does not: each frame says.
start server "$bin/qpip-ping" -s --nic "$fabric?address=fd00::1&loss=0.2&seed=7"
ping "UDP with losses" "0 < r['lost'] < r['sent'] == 300" -u -n 300 --timeout 0.02
ping "TCP with losses" "$all" -n 50
nic="$fabric?checksum=1"
ping "TCP with losses and two who verify" "$all" -n 50
nic=
stop "$started"

# ttcp LABEL ARGUMENTS...: transfers, and compares both ends' byte counts.
ttcp() {
  label=$1
  shift
  start receiver "$bin/qpip-ttcp" -r --nic "$fabric" --json "$@"
  receiver=$started
  check "ttcp $label" timeout 100 "$bin/qpip-ttcp" -t --nic "$fabric" --json "$@" fd00::1
  cp "$work/check.out" "$work/transmitter.json"
  status_of "$receiver" 30
  [ "$status" -eq 0 ] || fail "ttcp $label: receiver's status $status: $(cat "$work/receiver.err")"
  bytes=$(python3 -c "
import json, sys
print(json.loads(open(sys.argv[1]).read().splitlines()[-1])['bytes'])" "$work/transmitter.json")
  check "ttcp $label: $bytes bytes" json "$work/receiver.out" "r['bytes'] == $bytes > 0"
}
ttcp "segment framing" -l 64K -n 500 --verify
check "segment framing keeps messages" json "$work/receiver.out" "r['messages'] == 500 and r['verified']"
ttcp "stream framing" -l 64K -n 500 --verify --stream -D -s
ttcp "polling" -l 8192 -n 2000 --poll
ttcp "one byte" -l 1 -n 1000 --verify --depth 4
ttcp "odd sizes" -l 33333 -n 300 --verify --stream --depth 3
ttcp "megabytes" -l 1M -n 50 --verify --depth 2

# For a time, with a report now and then: the parts add up to the whole, on both sides.
# intervals FILE: evaluates what the lines of a file say of intervals, and its last line.
intervals() {
  python3 -c '
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
parts = [line["interval"] for line in lines if "interval" in line]
total = lines[-1]
assert len(parts) >= 1, parts
assert sum(part["bytes"] for part in parts) == total["bytes"], (parts, total)
assert parts[0]["start_seconds"] == 0 and parts[-1]["end_seconds"] <= total["seconds"] + 0.01
for before, after in zip(parts, parts[1:]):
    assert before["end_seconds"] == after["start_seconds"], (before, after)
    assert before["end_seconds"] - before["start_seconds"] >= 0.1, before' "$1"
}
start receiver "$bin/qpip-ttcp" -r --nic "$fabric" --json --interval 0.1
receiver=$started
check "ttcp for half a second" timeout 60 "$bin/qpip-ttcp" -t --nic "$fabric" --json --duration 0.5 \
  --interval 0.1 fd00::1
cp "$work/check.out" "$work/transmitter.json"
status_of "$receiver" 30
[ "$status" -eq 0 ] || fail "receiver: status $status: $(cat "$work/receiver.err")"
check "it took as long" json "$work/transmitter.json" "0.5 <= r['seconds'] < 5 and r['bytes'] > 0"
check "the transmitter's parts" intervals "$work/transmitter.json"
check "the receiver's parts" intervals "$work/receiver.out"

# Interrupted, the parts still add up, on the side that says so in its time.
start receiver "$bin/qpip-ttcp" -r --nic "$fabric" --json
receiver=$started
start transmitter "$bin/qpip-ttcp" -t --nic "$fabric" --json --duration 60 --interval 0.1 fd00::1
transmitter=$started
while kill -0 "$transmitter" && ! grep -q '"bytes":[1-9]' "$work/transmitter.out"; do sleep 0.01; done
kill -TERM "$transmitter"
status_of "$transmitter" 20
[ "$status" -eq 1 ] || fail "an interrupted transmitter's status: $status"
check "what an interrupted transmitter has done" json "$work/transmitter.out" \
  "r['bytes'] > 0 and 'interrupted' in r['error']"
check "an interrupted transmitter's parts" intervals "$work/transmitter.out"
status_of "$receiver" 20
[ "$status" -eq 1 ] || fail "the status of an interrupted transmitter's receiver: $status"

# The receiver's buffers are shorter: both ends fail and say so.
start receiver "$bin/qpip-ttcp" -r --nic "$fabric" -l 1K
receiver=$started
timeout 30 "$bin/qpip-ttcp" -t --nic "$fabric" -l 64K fd00::1 >"$work/out" 2>"$work/err"
[ $? -eq 1 ] || fail "ttcp with too short receives did not fail: $(cat "$work/err")"
status_of "$receiver" 20
[ "$status" -eq 1 ] || fail "receiver with too short receives: status $status"
grep -q "longer than ours" "$work/receiver.err" || fail "receiver says: $(cat "$work/receiver.err")"

# Text output looks like ttcp's.
start receiver "$bin/qpip-ttcp" -r --nic "$fabric"
receiver=$started
check "ttcp text" timeout 60 "$bin/qpip-ttcp" -t --nic "$fabric" -f G fd00::1
grep -q "^ttcp-t: 16777216 bytes in .* real seconds = .* GiB/s +++$" "$work/check.out" ||
  fail "ttcp text: $(cat "$work/check.out")"
status_of "$receiver" 20
[ "$status" -eq 0 ] || fail "receiver: status $status"

# The same over datagrams: a server that learns who its clients are, clients that name it.
port=$((20000 + $$ % 20000))
start server "$bin/qpip-ping" -s --nic "udp:127.0.0.1:$port"
server=$started
nic="udp:127.0.0.1:0?peer=127.0.0.1:$port"
ping "TCP over udp:" "$all" -n 200
ping "UDP over udp:" "$all" -u -n 200 -l 1000
stop "$server"
unset nic
start receiver "$bin/qpip-ttcp" -r --nic "udp:127.0.0.1:$port?mtu=9000" -l 64K --verify
receiver=$started
check "ttcp over udp:" timeout 60 "$bin/qpip-ttcp" -t -l 64K -n 300 --verify \
  --nic "udp:127.0.0.1:0?peer=127.0.0.1:$port&mtu=9000" fd00::1
status_of "$receiver" 20
[ "$status" -eq 0 ] || fail "receiver over udp:: status $status"
finish
