#!/usr/bin/env bash
# qpip-nbd-server on a tap: device under a kernel's client, in a guest: /dev/nbd0 with one connection and with two, ext2 on
# it, files, e2fsck, there and here.
#
# Usage: nbd_test.sh BIN_DIR [MIB]. MIB of files. Exits with 77 where there can be no guest.
set -uo pipefail
here=$(dirname "$(realpath "$0")")
bin=$1
mib=${2:-32}
name=nbd
. "$here/library.sh"
command -v e2fsck >/dev/null || skip "there is no e2fsck"

# The guest and the NIC on one Ethernet.
inside ip link add br0 type bridge
inside ip tuntap add qpip0 mode tap vnet_hdr
for device in tap0 qpip0; do inside ip link set "$device" master br0 up; done
inside ip link set br0 up

# on_disk WHAT EXPORT CONNECTIONS ARGUMENT: the server's, of an export of that name.
on_disk() {
  ip netns exec "$space" timeout 500 "$bin/qpip-nbd-server" --nic "tap:qpip0?address=fd00::1&netns=$space" "$2=$4" \
    >"$work/peer" 2>&1 &
  local server=$!
  GUEST_FIRST=fd00::1 GUEST_SECONDS=400 inside "$here/run_guest" "$cache" tap0 fd00::2/64 /own/nbd_guest.sh fd00::1 "$2" "$3" \
    "$mib" >"$work/guest" 2>&1
  local guest=$?
  kill "$server"
  wait "$server"
  result "$1" $? "$guest"
}

truncate -s $((mib * 3 / 2 + 16))M "$work/disk"
on_disk "a file, one connection" disk 1 "$work/disk"
if e2fsck -f -n "$work/disk" >"$work/e2fsck" 2>&1; then
  echo "ok: e2fsck of the file on this side"
else
  sed 's/^/FAILED: e2fsck: /' "$work/e2fsck"
  failed=1
fi
on_disk "memory, two connections" memory 2 "memory:$((mib * 3 / 2 + 16))M"
exit "$failed"
