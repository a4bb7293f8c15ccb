#!/bin/sh
# QPIP and the Linux kernel's stack while the kernel's packet filter drops 2 % of the packets at
# random, both ways: where the kernel's end takes and gives them, or on a router. With segmentation
# left to the kernel one drop is up to 64 KiB. Both directions are byte-exact.
# Usage: nft_loss_test.sh BIN_DIR [MIB]
#
#     QPIP fd00::1 -- tun qpip0 -- router -- near ==veth== far, fd10::2 -- kernel
. "$(dirname "$0")/library.sh" "$1"
mib=${2:-4}
peer=$(dirname "$0")/kernel_peer.py
router=$first_namespace
make_namespace
far=$namespace
holder=${far#/proc/}

within "$router" sh -c "echo 1 >/proc/sys/net/ipv6/conf/all/forwarding &&
  ip link add near mtu 9000 type veth peer name far mtu 9000 netns ${holder%%/*} &&
  ip address add fd10::1/64 dev near nodad && ip link set near up" &&
  within "$far" sh -c "ip address add fd10::2/64 dev far nodad && ip link set far up &&
  ip route add default via fd10::1" || fail "no router"

# drops NAMESPACE HOOK...: 2 % of TCP's packets at each of the hooks; none with no hook.
drops() {
  filter=$1
  shift
  within "$filter" nft flush ruleset || fail "no packet filter: install nftables"
  within "$filter" nft add table ip6 loss
  for hook in "$@"; do
    within "$filter" nft -f - <<RULES || fail "no packet filter at $hook"
      add chain ip6 loss $hook { type filter hook $hook priority 0; }
      add rule ip6 loss $hook meta l4proto tcp numgen random mod 100 < 2 counter drop
RULES
  done
}
# dropped NAMESPACE: how many so far.
dropped() {
  within "$1" nft list ruleset | sed -n 's/.* counter packets \([0-9]*\) .*/\1/p' |
    awk '{sum += $1} END {print sum + 0}'
}

# transfer LABEL QUERY: $mib MiB each way, compared byte by byte at both ends.
transfer() {
  nic="tun:qpip0?address=fd00::1&host=fd00::2/64&netns=$router$2"
  start taker within "$far" python3 "$peer" take 5001 "$work/pattern"
  taker=$started
  check "$1: QPIP sends" timeout 100 "$bin/qpip-ttcp" -t --stream --verify -l 64K \
    -n $((mib * 16)) --nic "$nic" fd10::2
  status_of "$taker" 100
  [ "$status" -eq 0 ] || fail "$1: the socket's side: $(cat "$work/taker.err")"
  [ "$(wc -c <"$work/pattern")" -eq $((mib << 20)) ] || fail "$1: $(wc -c <"$work/pattern") bytes"
  start receiver "$bin/qpip-ttcp" -r --stream --verify -l 64K --json --nic "$nic"
  receiver=$started
  check "$1: a socket sends" within "$far" timeout 100 python3 "$peer" give fd00::1 5001 \
    "$work/pattern"
  status_of "$receiver" 100
  [ "$status" -eq 0 ] || fail "$1: QPIP's status $status: $(cat "$work/receiver.err")"
  check "$1: every byte" json "$work/receiver.out" "r['bytes'] == $mib << 20 and r['verified']"
}

# lossy WHERE NAMESPACE HOOK...: with small and large packets, with and without offload.
lossy() {
  label=$1
  place=$2
  shift 2
  for mtu in 1500 9000; do
    for offload in 1 0; do
      drops "$place" "$@"
      transfer "$label, MTU $mtu, offload $offload" "&mtu=$mtu&offload=$offload"
      say "$(dropped "$place") packets were dropped"
      # 2 % of a few super-segments may be none.
      [ "$offload" = 1 ] || [ "$(dropped "$place")" -gt 0 ] || fail "$label: nothing was dropped"
      drops "$place"
    done
  done
}
lossy "at the kernel's end" "$far" input output
lossy "on a router" "$router" forward

drops "$router" forward
transfer "recorded" "&mtu=1500&pcap=$work/loss.pcap"
sound "recorded" "$work/loss.pcap" "$explained|$lossy"

for name in TcpInCsumErrors TcpEstabResets TcpOutRsts; do
  [ "$(counter "$far" "$name")" = 0 ] || fail "$name is $(counter "$far" "$name")"
done
[ "$(counter "$far" TcpExtTCPChallengeACK)" -le 20 ] ||
  fail "$(counter "$far" TcpExtTCPChallengeACK) challenge ACKs"
say "the kernel's: $(all_counters "$far")"
finish
