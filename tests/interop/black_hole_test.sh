#!/bin/sh
# QPIP sends to the Linux kernel's stack over a path that silently drops what is larger than 1400
# bytes, although both links and the kernel's MSS allow 1500 (RFC 4821).
# Usage: black_hole_test.sh BIN_DIR [MIB]
#
#     QPIP fd00::1 -- tun qpip0 -- router -- fwd-a ==path== fwd-b -- kernel fd10::2
. "$(dirname "$0")/library.sh" "$1"
mib=${2:-16}
router=$first_namespace
make_namespace
far=$namespace

within "$router" sh -c 'echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'
within "$far" sh -c 'echo 0 >/proc/sys/net/ipv4/tcp_mtu_probing'
nic="tun:qpip0?address=fd00::1&host=fd00::2/64&netns=$router"
start forwarder "$bin/qpip-test-forwarder" --a "$router" --b "$far" --delay-us 1000 \
  --black-hole 1400
forwarder=$started
within "$far" ip -6 route replace fd00::/64 dev fwd-b

# send LABEL QUERY: $mib MiB, all of which arrive.
send() {
  start taker within "$far" python3 "$peer" take 5001 "$work/pattern"
  taker=$started
  timeout 100 "$bin/qpip-ttcp" -t --stream --verify -l 64K -n $((mib * 16)) --json --statistics \
    --nic "$nic$2" fd10::2 >"$work/sender.out" 2>"$work/sender.err"
  status=$?
  [ "$status" -eq 0 ] || fail "$1: the sender: $status, $(cat "$work/sender.err")"
  status_of "$taker" 60
  [ "$status" -eq 0 ] || fail "$1: the socket's side: $(cat "$work/taker.err")"
  [ "$(wc -c <"$work/pattern")" -eq $((mib << 20)) ] || fail "$1: $(wc -c <"$work/pattern") bytes"
  say "ok: $1: $(reported bytes_per_second) bytes/s," \
    "probes: $(reported mtu_probes_succeeded) of $(reported mtu_probes_sent) arrived"
}
# reported NAME: a number in the sender's answer.
reported() { sed -n "s/.*\"$1\": *\([0-9]*\).*/\1/p" "$work/sender.out" | head -1; }
# counted LABEL NAME OPERATOR NUMBER
counted() {
  test "$(reported "$2")" "$3" "$4" || fail "$1: $2 is '$(reported "$2")', wanted $3 $4"
}

for query in "" "&sack=0" "&timestamps=0" "&congestion=reno&pacing=0"; do
  send "a black hole$query" "$query"
  counted "a black hole$query" mtu_black_holes -eq 1
  counted "a black hole$query" mtu_probes_succeeded -ge 1
  counted "a black hole$query" path_mtu_reductions -eq 0
done
mib=$((mib * 8))  # probes lie a retransmission time-out apart
send "always probing" "&mtu_probing=always"
counted "always probing" mtu_black_holes -eq 0
counted "always probing" mtu_probes_succeeded -ge 1

# Without probing the same transfer ends by its time-out.
start taker within "$far" python3 "$peer" take 5001 "$work/pattern"
timeout 60 "$bin/qpip-ttcp" -t --stream -l 64K -n 16 \
  --nic "$nic&mtu_probing=off&user_timeout_ms=3000" fd10::2 >"$work/off.out" 2>&1
status=$?
[ "$status" -eq 1 ] && say "ok: without probing nothing gets through" ||
  fail "without probing: status $status: $(head -c 300 "$work/off.out")"
stop "$forwarder"
swallowed=$(sed -n 's/.*"swallowed": *\([0-9]*\).*/\1/p' "$work/forwarder.out")
[ "${swallowed:-0}" -gt 0 ] || fail "the path swallowed nothing"
finish
