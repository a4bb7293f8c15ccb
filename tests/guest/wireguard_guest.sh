#!/bin/busybox sh
# shellcheck shell=dash
# Runs in the guest: an interface of Linux's own WireGuard, fd10::2, and what its sockets do with fd10::1 behind it.
# Usage: wireguard_guest.sh asks|answers PRIVATE_KEY PEERS_KEY PRESHARED_KEY BYTES
role=$1
bytes=$5
modprobe wireguard || exit 1
echo "$2" >/tmp/key
echo "$4" >/tmp/preshared
/own/ip link add wg0 type wireguard || exit 1
# Who asks begins the handshake; who answers learns where the other is.
endpoint=
[ "$role" = answers ] || endpoint="endpoint [fd00::1]:51820"
# shellcheck disable=SC2086
/own/wg set wg0 private-key /tmp/key listen-port 51820 peer "$3" preshared-key /tmp/preshared allowed-ips fd10::1/128 \
  $endpoint || exit 1
/own/ip address add fd10::2/64 dev wg0 nodad
/own/ip link set wg0 up
if [ "$role" = asks ]; then
  ping -6 -c 3 -W 20 fd10::1 || exit 1
  head -c "$bytes" /dev/zero | nc fd10::1 5001 || exit 1
else
  echo "guest: listens"
  got=$(nc -l -p 5001 | wc -c)
  echo "guest: $got bytes"
  [ "$got" = "$bytes" ] || exit 1
fi
# Bytes each way, and one handshake: whose was the first is the other end's to say.
/own/wg show wg0 transfer | cut -f 2-
[ "$(/own/wg show wg0 latest-handshakes | cut -f 2)" != 0 ]
