#!/bin/sh
# QPIP and the Linux kernel's stack at the ends of a path that loses, delays and reorders. Both directions
# are byte-exact, and the kernel's own counters have nothing to complain of.
# Usage: lossy_path_test.sh BIN_DIR [MIB]
#
#     QPIP fd00::1 -- tun qpip0 -- router -- fwd-a ==path== fwd-b -- kernel fd10::2
. "$(dirname "$0")/library.sh" "$1"
mib=${2:-8}
router=$first_namespace
make_namespace
far=$namespace

within "$router" sh -c 'echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'
nic="tun:qpip0?address=fd00::1&host=fd00::2/64&netns=$router"

# path OPTIONS...: a path with these faults between the namespaces.
path() {
  start forwarder "$bin/qpip-test-forwarder" --a "$router" --b "$far" "$@"
  forwarder=$started
  within "$far" ip -6 route replace fd00::/64 dev fwd-b
}

for faults in "--delay-us 2000" "--delay-us 2000 --loss 0.02"; do
  # shellcheck disable=SC2086
  path $faults
  transfer "$faults" "$nic"
  stop "$forwarder"
done
path --delay-us 2000 --loss 0.02
transfer "loss, without SACK" "$nic&sack=0&congestion=reno"
transfer "loss, without timestamps" "$nic&timestamps=0"
transfer "loss, not paced" "$nic&pacing=0"
transfer "loss, recorded" "$nic&pcap=$work/loss.pcap"
sound "loss, recorded" "$work/loss.pcap" "$explained|$lossy"
stop "$forwarder"
# While ACKs keep their order, no SACK block of ours lies outside what the kernel has sent.
discarded=$(counter "$far" TcpExtTCPSACKDiscard)
[ "$discarded" = 0 ] || fail "TcpExtTCPSACKDiscard is $discarded"

path --delay-us 2000 --reorder 0.03
transfer "reordering" "$nic"
stop "$forwarder"
resets=$(counter "$far" TcpOutRsts)
[ "$resets" = 0 ] || fail "$resets resets sent"
# The last ACK of a connection may come twice here. Nobody is there for the second, and the kernel
# says so: once for each of the two connections.
path --delay-us 2000 --loss 0.01 --duplicate 0.01 --reorder 0.01 --mtu 9000
transfer "all faults, MTU 9000" "$nic"
stop "$forwarder"
resets=$(counter "$far" TcpOutRsts)
[ "$resets" -le 2 ] || fail "$resets resets sent where packets come twice"

for name in TcpInCsumErrors TcpExtTCPReqQFullDrop; do
  [ "$(counter "$far" "$name")" = 0 ] || fail "$name is $(counter "$far" "$name")"
done
[ "$(counter "$far" TcpExtTCPChallengeACK)" -le 20 ] || fail "$(counter "$far" TcpExtTCPChallengeACK) challenge ACKs"
[ "$(counter "$far" TcpEstabResets)" = 0 ] || fail "$(counter "$far" TcpEstabResets) resets"
say "the kernel's: $(all_counters "$far")"
finish
