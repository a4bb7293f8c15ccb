#!/usr/bin/env bash
# The firmware's RDMA against Linux's own iWARP, siw, in a guest: rping both roles on a tap: device bridged to the
# guest's, with and without CRCs, over IPv6, and over IPv4 through a translator, where the NIC has an IPv4-mapped
# address; 64 MiB of Writes; what is wrong, by either side, and the Terminate that answers it.
#
# Usage: firmware_test.sh PEER_PROGRAM [ROUNDS [ONLY]]. Exits with 77 where there can be no guest. ONLY: an extended regular
# expression of the cases to run.
set -uo pipefail
here=$(dirname "$(realpath "$0")")
peer=$1
rounds=${2:-100}
only=${3:-.}
name=firmware
. "$here/library.sh"

# The guest and the NIC on one Ethernet.
inside ip link add br0 type bridge
inside ip tuntap add qpip0 mode tap vnet_hdr
for device in tap0 qpip0; do inside ip link set "$device" master br0 up; done
inside ip link set br0 up
tap="tap:qpip0?address=fd00::1&netns=$space"

# guest_asks WHAT NIC ADDRESS GUEST_ADDRESS SIZE ROUNDS GUEST_STATUS OPTIONS...: rping in the guest is the client.
guest_asks() {
  local what=$1 nic=$2 address=$3 guest_address=$4 size=$5 count=$6 expected=$7
  shift 7
  [[ $what =~ $only ]] || return
  ip netns exec "$space" timeout 300 "$peer" serve "$nic" - 7174 "$count" "$@" >"$work/peer" 2>&1 &
  local server=$!
  GUEST_FIRST=$address GUEST_SECONDS=${GUEST_SECONDS:-300} inside "$here/run_guest" "$cache" tap0 "$guest_address" rping -c -a "$address" \
    -p 7174 -C "$count" -S "$size" -V >"$work/guest" 2>&1
  local guest=$?
  ((guest == 0)) || [[ $expected == any ]] || kill "$server" 2>/dev/null
  wait "$server"
  local ended=$?
  [[ $expected == any || $guest == "$expected" ]] && guest=0
  result "$what" "$ended" "$guest"
}
# guest_answers WHAT NIC ADDRESS GUEST_ADDRESS ROUNDS OPTIONS...: rping in the guest is the server, which ends with an
# error whenever its client goes. 50 ms: see `pause` of the peer.
guest_answers() {
  local what=$1 nic=$2 address=$3 guest_address=$4 count=$5
  shift 5
  [[ $what =~ $only ]] || return
  ip netns exec "$space" timeout 300 "$peer" connect "$nic" "$address" 7174 "$count" pause=50 "$@" >"$work/peer" 2>&1 &
  local client=$!
  GUEST_SECONDS=${GUEST_SECONDS:-300} inside "$here/run_guest" "$cache" tap0 "$guest_address" rping -s \
    -a "${address#::ffff:}" -p 7174 -S 65535 -V >"$work/guest" 2>&1
  wait "$client"
  result "$what" $? 0
}

for crc in crc ""; do
  with=${crc:+with CRCs}
  with=${with:-without CRCs}
  # shellcheck disable=SC2086
  guest_asks "rping asks, $with" "$tap" fd00::1 fd00::2/64 4096 "$rounds" 0 $crc
  # shellcheck disable=SC2086
  guest_answers "rping answers, $with" "$tap" fd00::2 fd00::2/64 "$rounds" $crc
  # 1025 rounds of 65,535 bytes are 64 MiB; each is read and written.
  # shellcheck disable=SC2086
  guest_asks "rping asks, 64 MiB read and written, $with" "$tap" fd00::1 fd00::2/64 65535 1025 0 $crc
  # shellcheck disable=SC2086
  guest_answers "rping answers, 64 MiB read and written, $with" "$tap" fd00::2 fd00::2/64 1025 size=65535 $crc
done

# What is wrong. siw tells its log of a Terminate.
explained="siw: got TERMINATE"
for fault in bad_stag long_send told_bad_stag told_no_read told_short told_no_write; do
  guest_answers "$fault" "$tap" fd00::2 fd00::2/64 1 crc $fault
done
guest_asks short_receive "$tap" fd00::1 fd00::2/64 4096 1 any crc short_receive
explained=

# IPv4 in the guest, IPv6 with IPv4-mapped addresses here: the kernel's devices carry one, the NIC understands the other.
inside ip link set tap0 nomaster
inside ip address add 10.9.0.254/24 dev tap0
inside sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.tap0.proxy_arp=1
ip netns exec "$space" python3 "$here/translator.py" siit0 4799 4798 2>"$work/translator" &
translator=$!
for ((i = 0; i < 100; ++i)); do
  inside ip link show siit0 >/dev/null 2>&1 && break
  sleep 0.1
done
inside ip link set siit0 up
inside ip route add 10.9.1.0/24 dev siit0
mapped="udp:127.0.0.1:4798?address=::ffff:10.9.1.1&peer=127.0.0.1:4799&mtu=1500&offload=0"
guest_asks "rping asks over IPv4" "$mapped" 10.9.1.1 10.9.0.2/16 4096 "$rounds" 0 crc
guest_answers "rping answers over IPv4" "$mapped" ::ffff:10.9.0.2 10.9.0.2/16 "$rounds"
kill "$translator"
exit "$failed"
