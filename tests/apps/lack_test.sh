#!/bin/sh
# What a machine lacks: memory for a ring, address space, descriptors, room in a file. The one
# connection that it is needed for is refused at once, with a line at both ends, and the rest goes
# on. Usage: lack_test.sh BIN_DIR. Needs root, for a /dev/shm of its own.
. "$(dirname "$0")/library.sh" "$1"

# at_once STATUS TEXT COMMAND...: a command that must fail so, with one line, soon.
at_once() {
  want=$1 text=$2
  shift 2
  timeout 60 "$@" >"$work/out" 2>"$work/err"
  got=$?
  [ "$got" -eq "$want" ] || fail "$*: status $got, not $want: $(cat "$work/err")"
  [ "$(wc -l <"$work/err")" -eq 1 ] || fail "$*: not one line: $(cat "$work/err")"
  grep -q -- "$text" "$work/err" || fail "$*: no '$text' in: $(cat "$work/err")"
  say "tried: $* -> $got: $(cut -c 1-120 "$work/err")"
}
# free_descriptor PID: the least that the process has not in use.
free_descriptor() {
  free=0
  while [ -e "/proc/$1/fd/$free" ]; do free=$((free + 1)); done
  echo "$free"
}
# told NAME TEXT: a server that goes on has printed one line with the text.
told() {
  tries=0
  while ! grep -q -- "$2" "$work/$1.err" && [ $tries -lt 100 ]; do
    tries=$((tries + 1))
    sleep 0.02
  done
  grep -q -- "$2" "$work/$1.err" && [ "$(wc -l <"$work/$1.err")" -eq 1 ] ||
    fail "$1 says: $(cat "$work/$1.err")"
}

# --- A /dev/shm without room for a ring, and with room for one: the client's, not the server's answer.
if [ "$2" = small ]; then
  # Nobody else sees it. In a chroot the root is no mount point.
  for place in / /dev/shm /dev; do
    ! mount --make-rprivate "$place" 2>/dev/null || break
  done
  mount -t tmpfs -o size=512k tmpfs /dev/shm || { say "FAILED: run this test as root"; exit 1; }
  start server "$bin/qpip-ping" -s -l 1K --nic "$fabric"
  server=$started
  at_once 1 "no 1028 KiB for a ring towards fd00::1" "$bin/qpip-ping" --nic "$fabric" fd00::1
  mount -o remount,size=2m /dev/shm
  at_once 1 "No space left on device.*df /dev/shm" "$bin/qpip-ping" --nic "$fabric" fd00::1
  told server "No space left on device"
  at_once 1 "No space left on device.*df /dev/shm" "$bin/qpip-ttcp" -t --nic "$fabric" -p 7 fd00::1
  mount -o remount,size=16m /dev/shm
  check "with room it works" timeout 10 "$bin/qpip-ping" --nic "$fabric" -n 10 fd00::1
  stop "$server"
  finish
fi
check "a small /dev/shm" unshare --mount --propagation unchanged "$0" "$bin" small

# --- Address space for the server's memory, but not for its clients'.
start server "$bin/qpip-ping" -s --nic "$fabric"
prlimit --pid "$started" --as=$(($(awk '{print $1}' /proc/"$started"/statm) * 4096 + 33554432)): ||
  fail "prlimit"
at_once 1 "Cannot allocate memory.*ulimit -v" "$bin/qpip-ping" --nic "$fabric" fd00::1
told server "Cannot allocate memory"
prlimit --pid "$started" --as=unlimited:
check "with address space it works" timeout 10 "$bin/qpip-ping" --nic "$fabric" -n 10 fd00::1
stop "$started"

# --- Descriptors.
start server "$bin/qpip-ping" -s --nic "$fabric"
prlimit --pid "$started" --nofile="$(free_descriptor "$started")":
at_once 1 "Too many open files.*ulimit -n" "$bin/qpip-ping" --nic "$fabric" fd00::1
told server "Too many open files"
prlimit --pid "$started" --nofile=1024:
check "with descriptors it works" timeout 10 "$bin/qpip-ping" --nic "$fabric" -n 10 fd00::1
stop "$started"

# --- Sizes of files (in blocks of 512 bytes here).
for nic in "$fabric" "mem:x"; do
  at_once 1 "ulimit -f" sh -c 'ulimit -f 100; exec "$@"' sh "$bin/qpip-ping" -s --nic "$nic"
done
start server "$bin/qpip-ping" -s --nic "udp:127.0.0.1:0?pcap=$work/server.pcap" --once
stop "$started"
start receiver sh -c 'ulimit -f 100; exec "$@"' sh "$bin/qpip-ping" -s \
  --nic "udp:127.0.0.1:47$((100 + $$ % 800))?pcap=$work/server.pcap" --once
check "a recording that is cut short is no harm" timeout 10 "$bin/qpip-ping" -l 1000 -n 1000 \
  --nic "udp:127.0.0.1:0?peer=127.0.0.1:47$((100 + $$ % 800))" fd00::1
told receiver "server.pcap ends after .* packets: File too large"
status_of "$started" 10
[ "$status" -eq 0 ] || fail "the recording server: status $status"

# --- Threads, when a NIC is opened (root is not bound by the limit).
# --- Files that cannot be written, known at the start; and at the end.
at_once 1 "cannot write timeline file /nonexistent/x" "$bin/qpip-ping" -s \
  --nic "$fabric?timeline=/nonexistent/x"
start server "$bin/qpip-ping" -s --nic "$fabric?timeline=/dev/full"
stop "$started"
told server "cannot write timeline file /dev/full: No space left on device"
finish
