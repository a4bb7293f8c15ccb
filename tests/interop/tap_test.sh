#!/bin/sh
# QPIP on an Ethernet link: neighbour discovery with the Linux kernel and with another QPIP, through
# the kernel's bridge. Usage: tap_test.sh BIN_DIR [MIB]
. "$(dirname "$0")/library.sh" "$1"
mib=${2:-16}
here=$(dirname "$0")
peer=$here/kernel_peer.py
nic="tap:qpip0?address=fd00::1&mac=02:00:00:00:00:01&host=fd00::2/64&netns=$namespace"

# --- One link with the kernel.
start server "$bin/qpip-ping" -s --nic "$nic"
server=$started
check "ping" inside ping -6 -c 5 -i 0.2 -W 5 fd00::1
check "the kernel's neighbour table has the NIC" inside sh -c \
  "ip neigh show fd00::1 | tee /dev/stderr | grep -q 'lladdr 02:00:00:00:00:01 \(REACHABLE\|DELAY\)'"
check "datagrams of the kernel's are echoed" inside python3 "$peer" ask fd00::1 7 100
check "traceroute ends after one hop" inside sh -c \
  "traceroute -6 -n -m 5 -w 5 fd00::1 | tee /dev/stderr | grep -Eq '^ 1  fd00::1  [0-9.]+ ms'"
inside ip neigh flush dev qpip0
check "ping after the kernel has forgotten" inside ping -6 -c 2 -i 0.2 -W 5 fd00::1
stop "$server"

# transfer LABEL QUERY: the pattern to a socket and back, every byte compared.
transfer() {
  start taker inside python3 "$peer" take 5001 "$work/pattern"
  taker=$started
  check "$1: QPIP sends" timeout 100 "$bin/qpip-ttcp" -t --stream --verify -l 64K \
    -n $((mib * 16)) --nic "$nic$2" "${3:-fd00::2}"
  status_of "$taker" 60
  [ "$status" -eq 0 ] || fail "$1: the socket's side: $(cat "$work/taker.err")"
  start receiver "$bin/qpip-ttcp" -r --stream --verify -l 64K --json --nic "$nic$2"
  receiver=$started
  check "$1: a socket sends" inside python3 "$peer" give fd00::1 5001 "$work/pattern"
  status_of "$receiver" 100
  [ "$status" -eq 0 ] || fail "$1: QPIP's status $status: $(cat "$work/receiver.err")"
  check "$1: every byte" json "$work/receiver.out" "r['bytes'] == $mib << 20 and r['verified']"
}
transfer "with offload"
transfer "without offload" "&offload=0"
transfer "recorded" "&pcap=$work/recording.pcap&dad=0"

# --- Nobody there, and an address that is taken.
timeout 30 "$bin/qpip-ttcp" -t --nic "$nic&dad=0" fd00::77 >"$work/out" 2>"$work/err"
[ $? -eq 1 ] || fail "connecting to nobody: $(cat "$work/err")"
grep -qi "unreachable\|no route" "$work/err" || fail "connecting to nobody says: $(cat "$work/err")"
say "ok: a neighbour that does not answer is unreachable"
inside ip tuntap add dev qpip2 mode tap vnet_hdr
inside ip link add br9 type bridge
inside ip link set qpip2 master br9 up
inside ip link set br9 up
for address in fd09::1 fd09::2; do inside ip addr add $address/64 dev br9 nodad; done
taken="tap:qpip2?address=fd09::1&netns=$namespace"
timeout 30 "$bin/qpip-ttcp" -t --nic "$taken" fd09::2 >"$work/out" 2>"$work/err"
[ $? -eq 1 ] || fail "an address that is taken: $(cat "$work/err")"
grep -qi "unreachable\|no route" "$work/err" || fail "a taken address says: $(cat "$work/err")"
say "ok: an address that the kernel has is not used, though another that it has is asked for"

# --- Two NICs on a bridge, and the kernel beside them.
inside ip link add br0 type bridge
for tap in tapa tapb; do
  inside ip tuntap add dev $tap mode tap vnet_hdr
  inside ip link set $tap master br0 up
done
inside ip link set br0 up
inside ip addr add fd05::9/64 dev br0 nodad
start server "$bin/qpip-ttcp" -r --verify -l 64K --json \
  --nic "tap:tapa?address=fd05::1&netns=$namespace"
server=$started
check "two NICs on a bridge" timeout 60 "$bin/qpip-ttcp" -t --verify -l 64K -n $((mib * 16)) \
  --nic "tap:tapb?address=fd05::2&netns=$namespace" fd05::1
status_of "$server" 60
[ "$status" -eq 0 ] || fail "two NICs on a bridge: status $status: $(cat "$work/server.err")"
check "messages keep their boundaries" json "$work/server.out" \
  "r['messages'] == $mib * 16 and r['verified']"
start server "$bin/qpip-ping" -s --nic "tap:tapa?address=fd05::1&netns=$namespace"
server=$started
check "the bridge's own kernel" inside ping -6 -c 3 -i 0.2 -W 5 fd05::1
check "another NIC beside it" timeout 60 "$bin/qpip-ping" -n 200 \
  --nic "tap:tapb?address=fd05::2&netns=$namespace" fd05::1
stop "$server"

# --- Off the link: by a static route, then by a router that advertises itself.
inside ip addr add fd01::2/128 dev lo
# This router has been there before its link: its own address needs no detection of duplicates.
inside sh -c "echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad"
transfer "by a static route" "&dad=0&route=fd01::/16@fd00::2" fd01::2
start advertiser inside python3 "$here/advertise_router.py" qpip0
start taker inside python3 "$peer" take 5001 "$work/pattern"
taker=$started
check "by an advertised router" timeout 60 "$bin/qpip-ttcp" -t --stream --verify -l 64K -n 16 \
  --nic "$nic" fd01::2
status_of "$taker" 60
finish
