#!/bin/sh
# QPIP against the Linux kernel's stack over tun:. Usage: tun_test.sh BIN_DIR [MIB]
. "$(dirname "$0")/library.sh" "$1"
mib=${2:-64}
here=$(dirname "$0")
peer=$here/kernel_peer.py
nic="tun:qpip0?address=fd00::1&host=fd00::2/64&netns=$namespace"

# --- ICMPv6 and UDP
start server "$bin/qpip-ping" -s --nic "$nic"
server=$started
check "ping" inside ping -6 -c 3 -i 0.1 -W 5 fd00::1
check "ping of odd size" inside ping -6 -c 3 -i 0.1 -W 5 -s 1001 fd00::1
check "datagrams of the kernel's are echoed" inside python3 "$peer" ask fd00::1 7 200
check "traceroute ends after one hop" inside sh -c \
  "traceroute -6 -n -m 5 -w 5 fd00::1 | tee /dev/stderr | grep -Eq '^ 1  fd00::1  [0-9.]+ ms'"
check "traceroute by echo" inside sh -c \
  "traceroute -6 -I -n -m 5 -w 5 fd00::1 | tee /dev/stderr | grep -Eq '^ 1  fd00::1  [0-9.]+ ms'"
check "a connection to a closed port is refused" inside sh -c \
  "! timeout 10 nc -6 -z fd00::1 99 && ! [ \$? -eq 124 ]"
stop "$server"

# transmit LABEL QUERY: QPIP sends its pattern to a socket, which writes it to $work/pattern.
transmit() {
  start taker inside python3 "$peer" take 5001 "$work/pattern"
  taker=$started
  check "$1: QPIP sends" timeout 100 "$bin/qpip-ttcp" -t --stream --verify -l 64K -n $((mib * 16)) \
    --nic "$nic$2" fd00::2
  status_of "$taker" 60
  [ "$status" -eq 0 ] || fail "$1: the socket's side: $(cat "$work/taker.err")"
  sum=$(tail -n 1 "$work/taker.out")
  [ "$(wc -c <"$work/pattern")" -eq $((mib << 20)) ] || fail "$1: $(wc -c <"$work/pattern") bytes"
}
# receive LABEL QUERY COMMAND...: a command sends the pattern, QPIP compares every byte.
receive() {
  label=$1
  start receiver "$bin/qpip-ttcp" -r --stream --verify -l 64K --json --nic "$nic$2"
  receiver=$started
  shift 2
  check "$label: sends" inside timeout 100 "$@"
  status_of "$receiver" 100
  [ "$status" -eq 0 ] || fail "$label: QPIP's status $status: $(cat "$work/receiver.err")"
  check "$label: every byte" json "$work/receiver.out" "r['bytes'] == $mib << 20 and r['verified']"
}
for query in "" "&offload=0" "&pcap=$work/recording.pcap"; do
  mode="TCP${query:+, with ${query%%=*}}"
  transmit "$mode" "$query"
  first=${first:-$sum}
  [ "$sum" = "$first" ] || fail "$mode: SHA-256 $sum, was $first"
  [ ! -e "$work/recording.pcap" ] ||
    sound "$mode: sent" "$work/recording.pcap" "$explained"
  receive "$mode: a socket" "$query" python3 "$peer" give fd00::1 5001 "$work/pattern"
done
receive "nc" "" sh -c "nc -6 -N fd00::1 5001 <'$work/pattern'"
receive "socat" "" socat -u "OPEN:$work/pattern" 'TCP6:[fd00::1]:5001'
sound "TCP, recorded: received" "$work/recording.pcap" "$explained"

# --- A conventional NBD client and QPIP's server: bytes both ways, compared by SHA-256.
head -c "${mib}M" /dev/urandom >"$work/source"
truncate -s "${mib}M" "$work/disk"
start nbd "$bin/qpip-nbd-server" --nic "$nic" disk="$work/disk"
nbd=$started
check "nbdcopy to QPIP" inside timeout 100 nbdcopy --flush "$work/source" 'nbd://[fd00::1]/disk'
check "nbdcopy from QPIP" inside timeout 100 nbdcopy 'nbd://[fd00::1]/disk' "$work/back"
stop "$nbd"
sums=$(sha256sum <"$work/source"; sha256sum <"$work/disk"; sha256sum <"$work/back")
[ "$(printf '%s\n' "$sums" | sort -u | wc -l)" -eq 1 ] || fail "SHA-256 differ: $sums"

# --- Two NICs, the kernel as a router between them.
inside sh -c 'echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'
far="tun:qpip1?address=fd01::1&host=fd01::2/64&netns=$namespace"
start server "$bin/qpip-ttcp" -r --verify -l 64K --json --nic "$far"
server=$started
check "through the kernel's router" timeout 100 "$bin/qpip-ttcp" -t --verify -l 64K \
  -n $((mib * 16)) --nic "$nic" fd01::1
status_of "$server" 60
[ "$status" -eq 0 ] || fail "through the router: status $status: $(cat "$work/server.err")"
check "messages keep their boundaries" json "$work/server.out" \
  "r['messages'] == $mib * 16 and r['verified']"
finish
