#!/bin/sh
# QPIP and the Linux kernel's stack while the kernel's packet filter drops 2 % of the packets at
# random, both ways: where the kernel's end takes and gives them, or on a router. With segmentation
# left to the kernel one drop is up to 64 KiB. Both directions are byte-exact.
# Usage: nft_loss_test.sh BIN_DIR [MIB]
#
#     QPIP fd00::1 -- tun qpip0 -- router -- near ==veth== far, fd10::2 -- kernel
. "$(dirname "$0")/library.sh" "$1"
mib=${2:-4}
router=$first_namespace
make_namespace
far=$namespace
holder=${far#/proc/}
nic="tun:qpip0?address=fd00::1&host=fd00::2/64&netns=$router"

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

# lossy WHERE NAMESPACE HOOK...: with small and large packets, with and without offload.
lossy() {
  label=$1
  place=$2
  shift 2
  for mtu in 1500 9000; do
    for offload in 1 0; do
      drops "$place" "$@"
      transfer "$label, MTU $mtu, offload $offload" "$nic&mtu=$mtu&offload=$offload"
      say "$(dropped "$place") packets were dropped"
      # 2 % of a few super-segments may be none.
      [ "$offload" = 1 ] || [ "$(dropped "$place")" -gt 0 ] || fail "$label: nothing was dropped"
      [ "$offload" = 0 ] || offloaded=$((offloaded + $(dropped "$place")))
      drops "$place"
    done
  done
}
offloaded=0
lossy "at the kernel's end" "$far" input output
lossy "on a router" "$router" forward
[ "$offloaded" -gt 0 ] || fail "nothing was dropped with offload"

drops "$router" forward
# In packets of the MTU, so that 2 % are some.
transfer "recorded" "$nic&mtu=1500&offload=0&pcap=$work/loss.pcap"
[ "$(dropped "$router")" -gt 0 ] || fail "recorded: nothing was dropped"
sound "recorded" "$work/loss.pcap" "$explained|$lossy"

for name in TcpInCsumErrors TcpEstabResets TcpOutRsts; do
  [ "$(counter "$far" "$name")" = 0 ] || fail "$name is $(counter "$far" "$name")"
done
[ "$(counter "$far" TcpExtTCPChallengeACK)" -le 20 ] ||
  fail "$(counter "$far" TcpExtTCPChallengeACK) challenge ACKs"
say "the kernel's: $(all_counters "$far")"
finish
