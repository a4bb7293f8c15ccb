#!/bin/sh
# Many neighbours on an Ethernet link, and some that are not there, beside a kernel's echo server that
# meets the same. Usage: neighbours_test.sh BIN_DIR [SECONDS]
. "$(dirname "$0")/library.sh" "$1"
seconds=${2:-4}
here=$(dirname "$0")
hosts=$here/kernel_hosts.py
peer=$here/kernel_peer.py
nic="tap:qpip0?address=fd00::1&dad=0&host=fd00::2/64&netns=$first_namespace"

# The control: a kernel at the other end of a veth pair.
make_namespace
other=$namespace
pid=${other#/proc/}
inside ip link add near type veth peer name far netns "${pid%%/*}"
within "$other" ip addr add fd20::1/64 dev far nodad
within "$other" ip link set far up
inside ip addr add fd20::2/64 dev near nodad
inside ip link set near up
start control within "$other" python3 "$peer" echo 7

start server "$bin/qpip-ping" -s --nic "$nic&pcap=$work/nobody.pcap"
server=$started
check "the NIC answers" inside ping -6 -c 2 -i 0.2 -W 5 fd00::1
inside python3 "$hosts" appear fd20:: 1000 near
inside ip -6 route add local fd00::dead:0/112 dev lo

# --- A datagram from an address that nobody has.
check "datagrams are echoed" inside python3 "$peer" ask fd00::1 7 40
inside python3 "$hosts" vanish fd00::dead: 1 fd00::1 7
check "datagrams are echoed beside one to nobody" inside python3 "$peer" ask fd00::1 7 400
check "so are pings while it is asked for" inside ping -6 -q -c 25 -i 0.2 -W 5 fd00::1
check "and when it has been given up" inside python3 "$peer" ask fd00::1 7 400
stop "$server"
asked=$(tshark -r "$work/nobody.pcap" -Y "icmpv6.type == 135 && icmpv6.nd.ns.target_address == fd00::dead:1" \
  2>/dev/null | wc -l)
[ "$asked" -eq 3 ] && say "ok: nobody was asked for three times" || fail "nobody was asked for $asked times"

start server "$bin/qpip-ping" -s --nic "$nic"
server=$started
inside python3 "$hosts" appear fd00:: 1000 qpip0
# --- 60 hosts, then 1000: answers a second, and solicitations a second and host. On a machine with
# nothing else to do the rates are alike; what is looked for here is a collapse.
# talk NAME PREFIX COUNT ADDRESS
talk() {
  inside python3 "$hosts" talk "$2" "$3" "$4" 7 "$seconds" >"$work/$1" || fail "$1: no answers"
  say "$1: $(cat "$work/$1")"
}
talk kernel60 fd20:: 60 fd20::1
talk kernel1000 fd20:: 1000 fd20::1
talk few fd00:: 60 fd00::1
before=$(counter "$first_namespace" Icmp6InNeighborSolicits)
talk many fd00:: 1000 fd00::1
asked=$(($(counter "$first_namespace" Icmp6InNeighborSolicits) - before))
[ "$asked" -le $((1000 * (seconds + 1))) ] && say "ok: $asked solicitations in $seconds s" ||
  fail "$asked solicitations in $seconds seconds"
check "every host is answered" json "$work/many" "r['fewest'] > 0"
rate() { python3 -c 'import json,sys; print(int(json.load(open(sys.argv[1]))["answers_per_second"]))' "$1"; }
few=$(rate "$work/few") many=$(rate "$work/many")
[ "$few" -gt 0 ] && [ $((many * 20)) -ge "$few" ] && say "ok: 1000 hosts: $many answers a second, 60: $few" ||
  fail "1000 hosts: $many answers a second, 60: $few"

# --- More addresses that nobody has than the table has places.
inside python3 "$hosts" vanish fd00::dead: 3000 fd00::1 7
talk flooded fd00:: 60 fd00::1
check "every host is answered beside 3000 that are not there" json "$work/flooded" "r['fewest'] > 0"
check "a new one too" inside python3 "$peer" ask fd00::1 7 40
stop "$server"
finish
