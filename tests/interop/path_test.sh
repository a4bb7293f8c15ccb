#!/bin/sh
# Fragments, path MTUs and ICMPv6 errors between QPIP and the Linux kernel's stack, over tun: and
# through a router. Usage: path_test.sh BIN_DIR [MIB]
. "$(dirname "$0")/library.sh" "$1"
mib=${2:-256}
nic="tun:qpip0?address=fd00::1&host=fd00::2/64&netns=$namespace&mtu=1500"

# --- Fragments both ways, at an MTU of 1500.
for query in "" "&pcap=$work/fragments.pcap"; do
  mode="fragments${query:+, recorded}"
  start server "$bin/qpip-ping" -s --nic "$nic$query"
  server=$started
  check "$mode: ping of 60000 bytes" inside ping -6 -c 3 -i 0.1 -W 5 -s 60000 fd00::1
  check "$mode: ping of an odd size" inside ping -6 -c 3 -i 0.1 -W 5 -s 1453 fd00::1
  check "$mode: the largest ping" inside ping -6 -c 1 -W 5 -s 65527 fd00::1
  check "$mode: datagrams up to the largest are echoed" inside python3 "$peer" ask fd00::1 7 60 65527
  check "$mode: a closed UDP port is refused" inside python3 "$peer" refused fd00::1 99
  check "$mode: refused for a datagram in fragments" inside python3 "$peer" refused fd00::1 99 60000
  check "$mode: traceroute with packets over the MTU" inside sh -c \
    "traceroute -6 -n -m 5 -w 5 fd00::1 4000 | tee /dev/stderr | grep -Eq '^ 1  fd00::1  [0-9.]+ ms'"
  stop "$server"
done
sound "fragments" "$work/fragments.pcap"
check "fragments were recorded both ways" sh -c "tshark -r '$work/fragments.pcap' \
  -Y 'ipv6.fraghdr && ipv6.src == fd00::1' 2>/dev/null | grep -q . && tshark \
  -r '$work/fragments.pcap' -Y 'ipv6.fraghdr && ipv6.dst == fd00::1' 2>/dev/null | grep -q ."

# --- A router between QPIP and a host: fd00::1 --tun-- router --veth-- fd02::2.
make_namespace
far=$namespace
holder=${far#/proc/}
far_away() { within "$far" "$@"; }
inside sh -c "echo 1 >/proc/sys/net/ipv6/conf/all/forwarding &&
  ip link add near type veth peer name far && ip link set far netns ${holder%%/*} &&
  ip address add fd02::1/64 dev near nodad && ip link set near up"
far_away sh -c "ip link set lo up && ip address add fd02::2/64 dev far nodad &&
  ip link set far up && ip route add default via fd02::1"
check "the router routes" inside ping -6 -c 1 -W 5 fd02::2

# narrow LABEL QUERY: a stream to the far host, whose link shrinks once it flows.
narrow() {
  inside ip link set near mtu 1500
  start taker far_away python3 "$peer" take 5001 "$work/pattern"
  taker=$started
  timeout 200 "$bin/qpip-ttcp" -t --stream -l 64K -n $((mib * 16)) --json --statistics \
    --nic "$nic$2" fd02::2 >"$work/sender.out" 2>"$work/sender.err" &
  sender=$!
  pids="$pids $sender"
  tries=0
  while [ "$(stat -c %s "$work/pattern" 2>/dev/null || echo 0)" -lt 1000000 ] &&
    [ $tries -lt 2000 ]; do
    tries=$((tries + 1))
    sleep 0.005
  done
  inside ip link set near mtu 1280
  status_of "$taker" 100
  [ "$status" -eq 0 ] || fail "$1: the socket's side: $(cat "$work/taker.err")"
  status_of "$sender" 20
  [ "$status" -eq 0 ] || fail "$1: the sender: $(cat "$work/sender.err")"
  [ "$(stat -c %s "$work/pattern")" -eq $((mib << 20)) ] || fail "$1: not every byte arrived"
  cp "$work/sender.out" "$work/last.out"
  check "$1: the path's MTU was learned" grep -q '"path_mtu_reductions": *1' "$work/sender.out"
}
narrow "a narrowing path" ""
narrow "a narrowing path, without SACK" "&sack=0"
mib=16
narrow "a narrowing path, recorded" "&pcap=$work/narrow.pcap"
sound "a narrowing path" "$work/narrow.pcap" "$explained"

inside ip link set near mtu 1280
far_away ip link set far mtu 1280  # a veth drops what is larger than the other end
start echo far_away python3 "$peer" echo 5002
timeout 60 "$bin/qpip-ping" -u -p 5002 -n 50 -l 60000 --timeout 1 --json --nic "$nic" fd02::2 \
  >"$work/datagrams.out" 2>&1 || fail "large datagrams: $(cat "$work/datagrams.out")"
check "large datagrams through a narrow path: at most the first is lost" \
  json "$work/datagrams.out" "r['lost'] <= 1"

# fails WHAT SECONDS ADDRESS: a connection attempt ends by itself, in so many seconds at most.
fails() {
  timeout "$2" "$bin/qpip-ttcp" -t -n 1 --nic "$nic" "$3" >"$work/fails.out" 2>&1
  status=$?
  [ "$status" -eq 1 ] && say "ok: $1: $(head -c 200 "$work/fails.out")" ||
    fail "$1: status $status: $(head -c 300 "$work/fails.out")"
}
inside ip route add prohibit fd03::/64
inside ip route add unreachable fd04::/64
fails "a prohibited destination fails at once" 5 fd03::1
fails "an unreachable one when time is up" 30 fd04::1
check "... and is said to be unreachable" grep -qi unreachable "$work/fails.out"
finish
