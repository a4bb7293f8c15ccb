#!/bin/sh
# QPIP and the Linux kernel's stack at the ends of a path that loses, delays and reorders. Both directions
# are byte-exact, and the kernel's own counters have nothing to complain of.
# Usage: lossy_path_test.sh BIN_DIR [MIB]
#
#     QPIP fd00::1 -- tun qpip0 -- router -- fwd-a ==path== fwd-b -- kernel fd10::2
. "$(dirname "$0")/library.sh" "$1"
mib=${2:-8}
peer=$(dirname "$0")/kernel_peer.py
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

# transfer LABEL QUERY: $mib MiB each way, compared byte by byte at both ends.
transfer() {
  start taker within "$far" python3 "$peer" take 5001 "$work/pattern"
  taker=$started
  check "$1: QPIP sends" timeout 200 "$bin/qpip-ttcp" -t --stream --verify -l 64K \
    -n $((mib * 16)) --nic "$nic$2" fd10::2
  status_of "$taker" 100
  [ "$status" -eq 0 ] || fail "$1: the socket's side: $(cat "$work/taker.err")"
  [ "$(wc -c <"$work/pattern")" -eq $((mib << 20)) ] || fail "$1: $(wc -c <"$work/pattern") bytes"
  start receiver "$bin/qpip-ttcp" -r --stream --verify -l 64K --json --nic "$nic$2"
  receiver=$started
  check "$1: a socket sends" within "$far" timeout 200 python3 "$peer" give fd00::1 5001 \
    "$work/pattern"
  status_of "$receiver" 100
  [ "$status" -eq 0 ] || fail "$1: QPIP's status $status: $(cat "$work/receiver.err")"
  check "$1: every byte" json "$work/receiver.out" "r['bytes'] == $mib << 20 and r['verified']"
}

for faults in "--delay-us 2000" "--delay-us 2000 --loss 0.02"; do
  # shellcheck disable=SC2086
  path $faults
  transfer "$faults" ""
  stop "$forwarder"
done
path --delay-us 2000 --loss 0.02
transfer "loss, without SACK" "&sack=0&congestion=reno"
transfer "loss, without timestamps" "&timestamps=0"
transfer "loss, paced" "&pacing=1"
transfer "loss, recorded" "&pcap=$work/loss.pcap"
sound "loss, recorded" "$work/loss.pcap" "$explained|$lossy"
stop "$forwarder"
# While ACKs keep their order, no SACK block of ours lies outside what the kernel has sent.
discarded=$(counter "$far" TcpExtTCPSACKDiscard)
[ "$discarded" = 0 ] || fail "TcpExtTCPSACKDiscard is $discarded"
resets=$(counter "$far" TcpOutRsts)
[ "$resets" = 0 ] || fail "$resets resets sent"

for faults in "--delay-us 2000 --reorder 0.03" \
  "--delay-us 2000 --loss 0.01 --duplicate 0.01 --reorder 0.01 --mtu 9000"; do
  # shellcheck disable=SC2086
  path $faults
  transfer "$faults" ""
  stop "$forwarder"
done

for name in TcpInCsumErrors TcpExtTCPReqQFullDrop; do
  [ "$(counter "$far" "$name")" = 0 ] || fail "$name is $(counter "$far" "$name")"
done
[ "$(counter "$far" TcpExtTCPChallengeACK)" -le 20 ] || fail "$(counter "$far" TcpExtTCPChallengeACK) challenge ACKs"
[ "$(counter "$far" TcpEstabResets)" = 0 ] || fail "$(counter "$far" TcpEstabResets) resets"
say "the kernel's: $(all_counters "$far")"
# The last ACK of a connection, or of its text, may come twice or late: then nobody is there, and
# the kernel says so. Once a transfer at most.
resets=$(counter "$far" TcpOutRsts)
[ "$resets" -le 4 ] || fail "$resets resets sent"
finish
