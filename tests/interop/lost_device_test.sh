#!/bin/sh
# A TUN device is deleted below running commands: each ends with status 1 and one line that says
# why, idle or not. Usage: lost_device_test.sh BIN_DIR
. "$(dirname "$0")/library.sh" "$1"

# lost LABEL NAME PID: deletes the device below a command, which must end within seconds.
lost() {
  inside ip link del "$device"
  status_of "$3" 10
  [ "$status" -eq 1 ] || fail "$1: status $status: $(cat "$work/$2.err")"
  [ "$(wc -l <"$work/$2.err")" -eq 1 ] || fail "$1: not one line: $(cat "$work/$2.err")"
  grep -q "$device has been deleted" "$work/$2.err" || fail "$1: $(cat "$work/$2.err")"
  say "ok: $1 ends"
}

nic() {
  device=lost$1
  nic="tun:$device?address=fd00::1&host=fd00::2/64"
}

nic 0
start ping inside "$bin/qpip-ping" -s --nic "$nic"
lost "an echo server without clients" ping "$started"

nic 1
start ping inside "$bin/qpip-ping" -s --poll --nic "$nic"
lost "an echo server that polls" ping "$started"

nic 2
start ttcp inside "$bin/qpip-ttcp" -r --json --nic "$nic"
lost "a receiver without a sender" ttcp "$started"

nic 3
truncate -s 1M "$work/disk.img"
start nbd inside "$bin/qpip-nbd-server" --nic "$nic" "$work/disk.img"
lost "a block device's server" nbd "$started"

nic 5
start client inside "$bin/qpip-nbd-client" --nic "$nic" --keep-serving --socket "$work/s" fd00::2
lost "a block device's client that nobody uses" client "$started"

# With a connection of the kernel's that never ends.
nic 4
start ping inside "$bin/qpip-ping" -s --nic "$nic"
server=$started
start client inside python3 -c '
import socket
s = socket.create_connection(("fd00::1", 7))
s.sendall(b"x")
print(len(s.recv(1)), flush=True)
s.recv(1)'
lost "an echo server with a client" ping "$server"
finish
