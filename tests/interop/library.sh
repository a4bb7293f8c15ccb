# Shared by the interop tests: a network namespace of each test's own, with the kernel's stack as
# the peer. Source it: `. library.sh BIN_DIR`. Needs root and /dev/net/tun; fails without.
. "$(dirname "$0")/../apps/library.sh" "$1"

# A process holds the namespace, rather than a name in /run/netns: that takes no mount, so it works
# in a chroot as well, and nothing is left behind whatever happens.
holders=""
cleanup_all() {
  for holder in $holders; do kill "$holder" 2>/dev/null; done
  cleanup
}
trap cleanup_all EXIT

# make_namespace: a new network namespace with its loopback up; sets $namespace to its path.
make_namespace() {
  unshare --net sleep infinity &
  holders="$holders $!"
  namespace=/proc/$!/ns/net
  ours=$(readlink /proc/self/ns/net)
  tries=0
  while [ "$(readlink "$namespace")" = "$ours" ] && [ $tries -lt 500 ]; do
    tries=$((tries + 1))
    sleep 0.01
  done
  if [ "$(readlink "$namespace")" = "$ours" ] || ! within "$namespace" ip link set lo up; then
    say "FAILED: no network namespace: run this test as root, with iproute2 installed"
    exit 1
  fi
}
# within NAMESPACE COMMAND...: runs a command in a namespace; inside COMMAND...: in the first one.
within() {
  where=$1
  shift
  nsenter --net="$where" -- "$@"
}
make_namespace
first_namespace=$namespace
inside() { nsenter --net="$first_namespace" -- "$@"; }

peer=$(dirname "$0")/kernel_peer.py
# transfer LABEL NIC: $mib MiB from QPIP to the kernel's socket in $far, at fd10::2, and back to
# fd00::1, compared byte by byte at both ends.
transfer() {
  start taker within "$far" python3 "$peer" take 5001 "$work/pattern"
  taker=$started
  check "$1: QPIP sends" timeout 200 "$bin/qpip-ttcp" -t --stream --verify -l 64K \
    -n $((mib * 16)) --nic "$2" fd10::2
  status_of "$taker" 100
  [ "$status" -eq 0 ] || fail "$1: the socket's side: $(cat "$work/taker.err")"
  [ "$(wc -c <"$work/pattern")" -eq $((mib << 20)) ] || fail "$1: $(wc -c <"$work/pattern") bytes"
  start receiver "$bin/qpip-ttcp" -r --stream --verify -l 64K --json --nic "$2"
  receiver=$started
  check "$1: a socket sends" within "$far" timeout 200 python3 "$peer" give fd00::1 5001 \
    "$work/pattern"
  status_of "$receiver" 100
  [ "$status" -eq 0 ] || fail "$1: QPIP's status $status: $(cat "$work/receiver.err")"
  check "$1: every byte" json "$work/receiver.out" "r['bytes'] == $mib << 20 and r['verified']"
}

# json FILE EXPRESSION: evaluates a Python expression on the last JSON line of a file, as `r`.
json() {
  python3 -c '
import json, sys
r = json.loads(open(sys.argv[1]).read().splitlines()[-1])
sys.exit(0 if eval(sys.argv[2], {"r": r}) else "not so: %s" % r)' "$1" "$2"
}

# counter NAMESPACE NAME: of the kernel's SNMP counters there, as nstat has them.
counter() { within "$1" nstat -asz "$2" | awk -v name="$2" '$1 == name {print $2}'; }
# all_counters NAMESPACE: those that are not zero, on one line.
all_counters() { within "$1" nstat -as | awk 'NR > 1 && $2 != 0 {printf "%s=%s ", $1, $2}'; }

# sound LABEL RECORDING [EXPLAINED [FILTER]]: tshark finds no malformed packet in a recording, no wrong
# checksum but those of packets quoted in part, and no expert warning but those that the extended
# regular expression EXPLAINED names, among the packets of FILTER. Payloads are patterns: they are
# not dissected. Resets that answer a segment of a connection that is over end nothing: late_resets.py.
sound() {
  check "$1: tshark finds nothing wrong" sh -c "tshark -r '$2' -c 1 >/dev/null 2>&1 && \
    ! tshark -r '$2' $undissected -Y '_ws.malformed || icmpv6.checksum.status == 0 || \
    !(icmpv6.type < 128) && (_ws.expert.severity == error || udp.checksum.status == 0 || \
    tcp.checksum.status == 0 && tcp.checksum != 0xffff)' 2>/dev/null | grep ."
  # shellcheck disable=SC2086
  late=$(tshark -r "$2" $undissected -Y "tcp && !icmpv6" -T fields -e frame.number -e ipv6.src -e tcp.srcport \
    -e ipv6.dst -e tcp.dstport -e tcp.flags -e tcp.seq_raw -e tcp.ack_raw -e tcp.len 2>/dev/null |
    python3 "$(dirname "$0")/late_resets.py") || fail "$1: late_resets.py"
  [ -z "$late" ] || late=" && !(frame.number in {$late})"
  # shellcheck disable=SC2086
  tshark -q -r "$2" $undissected \
    -z "expert,warn,!(icmpv6.type < 128)$late${4:+ && $4}" \
    >"$work/expert" 2>/dev/null || fail "$1: tshark has no expert information"
  unexplained=$(sed -n '/^Notes/,$d; /^ *[0-9]/p' "$work/expert" | grep -Ev "${3:-^$}")
  [ -z "$unexplained" ] && say "ok: $1: no warning of tshark's that is not explained" ||
    fail "$1: tshark warns: $unexplained"
}
# What connections carry is nobody's protocol: random bytes that look like one may cost tshark minutes.
undissected="-o tcp.check_checksum:TRUE -o udp.check_checksum:TRUE"
undissected="$undissected -d tcp.port==0-65535,data -d udp.port==0-65535,data"
# Why tshark warns of connections with nothing wrong:
# - an ACK bears the number of the next byte, which may leave later: it is still being fetched;
# - Linux keeps back an ACK for longer than two round trips, and the tail is sent again;
# - what a path refuses is sent again, smaller and at once: tshark may take it for reordered;
# - a receiver that is slower than its sender shuts its window;
# - what is zero for whom it is computed is all ones for skb_checksum_help, which means the same.
explained="Previous segment\(s\) not captured|\(suspected\) out-of-order|D-SACK Sequence"
explained="$explained|TCP Zero Window segment|is now completely full"
explained="$explained|Checksum 0xffff instead of 0x0000"
# Of connections some of whose packets are lost on purpose.
lossy="ACKed segment that wasn't captured"
