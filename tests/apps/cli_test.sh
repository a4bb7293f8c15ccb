#!/bin/sh
# Bad usage and failures of every command: exit status 2 or 1, and one line on stderr that starts
# with the command's name. Usage: cli_test.sh BIN_DIR
. "$(dirname "$0")/library.sh" "$1"

# expect STATUS TEXT COMMAND ARGUMENTS...: runs a command that must fail with the status and one
# line on stderr with TEXT in it, and nothing on stdout.
expect() {
  want=$1 text=$2 command=$3
  shift 3
  timeout 20 "$bin/$command" "$@" >"$work/out" 2>"$work/err"
  got=$?
  label="$command $*"
  [ "$got" -eq "$want" ] || fail "$label: status $got, not $want: $(cat "$work/err")"
  [ "$(wc -l <"$work/err")" -eq 1 ] || fail "$label: not one line: $(cat "$work/err")"
  grep -q "^$command: " "$work/err" || fail "$label: no name in front: $(cat "$work/err")"
  grep -q -- "$text" "$work/err" || fail "$label: no '$text' in: $(cat "$work/err")"
  [ -s "$work/out" ] && fail "$label: something on stdout: $(cat "$work/out")"
  say "tried: $label -> $got"
}

image=$work/disk.img
truncate -s 1M "$image"
client="--nic $fabric --address fd00::77"

for command in qpip-ping qpip-ttcp qpip-perf qpip-nbd-server qpip-nbd-client; do
  check "$command --help" "$bin/$command" --help
  grep -q "Examples:" "$work/check.out" || fail "$command --help has no examples"
  check "$command --version" "$bin/$command" --version
  expect 2 "unknown-option" $command --unknown-option
  expect 2 "nic" $command --nic
  expect 2 "more than once" $command --json --json
  expect 2 "more than once" $command --nic shm:a --nic shm:b
done

# Bad NIC URIs and addresses: all commands that get as far as opening one.
for uri in "bogus:x" "shm:" "shm:a b" "shm:x?address=nonsense" "shm:x?address=fd00::1&lost=1" \
  "shm:x?address=fd00::1&loss=2"; do
  expect 2 "" qpip-ping --nic "$uri" fd00::1
  expect 2 "" qpip-ttcp -t --nic "$uri" fd00::1
  expect 2 "" qpip-nbd-server --nic "$uri" "$image"
  expect 2 "" qpip-nbd-client --nic "$uri" --socket "$work/s" fd00::1
done
expect 2 "twice" qpip-ping --nic "shm:x?address=fd00::1" --address fd00::2 fd00::1
expect 2 "not-an-address" qpip-ping $client not-an-address
expect 2 "port" qpip-ping $client -p 0 fd00::1
expect 2 "port" qpip-ping $client -p 65536 fd00::1
expect 2 "port of .*65536" qpip-ping $client "[fd00::1]:65536"
expect 2 "port of" qpip-ping $client "[fd00::1]:0"
expect 2 "port of" qpip-ping $client "[fd00::1]:7x"
expect 2 "bracket" qpip-ping $client "[fd00::1"
expect 2 "not a port" qpip-nbd-server -p 10K "$image"
expect 2 "keep-alive given twice" qpip-ping -s --nic "$fabric?keepalive_idle_s=5" --keepalive 6
expect 2 "keepalive" qpip-nbd-server --keepalive 1000001 "$image"
expect 2 "handshake-limit" qpip-nbd-server --handshake-limit -1 "$image"
expect 2 "idle" qpip-ping -s --nic "$fabric" --idle 1h
expect 2 "timeout" qpip-ttcp -r --timeout never
expect 2 "no other host" qpip-ping $client ::
expect 2 "no other host" qpip-ttcp -t $client ff02::1
expect 2 "no other host" qpip-nbd-client $client --socket "$work/s" ::1
expect 2 "timeout" qpip-ping $client -u --timeout 0 fd00::1
expect 2 "no server" qpip-ping $client
expect 2 "count" qpip-ping $client -n 0 fd00::1
expect 2 "length" qpip-ping $client -l 1T fd00::1
expect 2 "exclude" qpip-ping $client --wait --poll fd00::1
expect 2 "no address" qpip-ping -s --nic "$fabric" fd00::1

expect 2 "one of them" qpip-ttcp
expect 2 "one of them" qpip-ttcp -t -r fd00::1
expect 2 "no receiver" qpip-ttcp -t $client
expect 2 "no address" qpip-ttcp -r $client fd00::1
expect 2 "unit" qpip-ttcp -r $client -f X
expect 2 "depth" qpip-ttcp -r $client --depth 0
expect 2 "transmitter's time" qpip-ttcp -r $client --duration 1
expect 2 "one of them" qpip-ttcp -t $client --duration 1 -n 5 fd00::1
expect 2 "above 0" qpip-ttcp -t $client --duration 0 fd00::1
expect 2 "above 0" qpip-ttcp -r $client --interval 0

expect 2 "nothing to export" qpip-nbd-server --nic "$fabric"
expect 2 "bad export" qpip-nbd-server --nic "$fabric" "=x"
expect 2 "one name" qpip-nbd-server --nic "$fabric" "a=$image" "a=$image"
expect 1 "missing.img" qpip-nbd-server --nic "$fabric" "$work/missing.img"
expect 1 "regular file" qpip-nbd-server --nic "$fabric" --read-only "$work"
if [ "$(id -u)" -ne 0 ]; then
  touch "$work/unreadable" && chmod 000 "$work/unreadable"
  expect 1 "unreadable" qpip-nbd-server --nic "$fabric" "$work/unreadable"
fi

expect 2 "no server" qpip-nbd-client $client --socket "$work/s"
expect 2 "socket" qpip-nbd-client $client fd00::1
expect 2 "wait-for-server" qpip-nbd-client $client --socket "$work/s" --wait-for-server soon fd00::1
expect 1 "no-such-directory" qpip-nbd-client $client --socket "$work/no-such-directory/s" fd00::1
expect 1 "not a socket" qpip-nbd-client $client --socket "$image" fd00::1

# Addresses, ports and sockets in use; peers that are not there.
start server "$bin/qpip-nbd-server" --nic "$fabric" "$image"
server=$started
expect 1 "fd00::1" qpip-nbd-server --nic "$fabric" "$image"
expect 1 "fd00::1" qpip-ping -s --nic "$fabric"
expect 1 "fd00::1" qpip-ping $client fd00::1
expect 1 "fd00::99" qpip-ping $client -n 1 fd00::99
expect 1 "port unreachable" qpip-ping $client -u fd00::1
expect 1 "no echo" qpip-ping $client -u -n 2 --timeout 0.05 fd00::99
expect 1 "fd00::1" qpip-ttcp -t $client fd00::1
start client "$bin/qpip-nbd-client" --nic "$fabric" --address fd00::2 --socket "$work/s" fd00::1
client_pid=$started
expect 1 "in use" qpip-nbd-client $client --socket "$work/s" fd00::1
expect 1 "in use" qpip-nbd-client --nic "$fabric" --address fd00::2 --socket "$work/t" fd00::1

# An export that does not exist is the tool's failure; the client goes on.
if nbdinfo "nbd+unix:///nothing?socket=$work/s" >"$work/out" 2>&1; then
  fail "nbdinfo found an export that does not exist"
fi
check "the client goes on" nbdinfo "nbd+unix:///disk.img?socket=$work/s"
stop "$client_pid"
[ -e "$work/s" ] && fail "the client left its socket behind"
stop "$server"

# The first use of a client whose server is gone ends it, with the reason, if it is told to.
start client "$bin/qpip-nbd-client" --nic "$fabric" --address fd00::2 --socket "$work/s" --exit-when-broken fd00::1
timeout 20 nbdinfo "nbd+unix:///?socket=$work/s" >"$work/out" 2>&1 && fail "no server, but nbdinfo"
status_of "$started" 20
[ "$status" -eq 1 ] || fail "client without a server: status $status"
grep -q "^qpip-nbd-client: .*fd00::1" "$work/client.err" || fail "client: $(cat "$work/client.err")"
finish
