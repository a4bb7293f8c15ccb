#!/bin/sh
# qpip-nbd-server under conventional clients, on kernel sockets and through the relay: what it announces, maps
# of sparse images, every command by libnbd, and the ways to start it.
# Usage: nbd_tools_test.sh BIN_DIR
. "$(dirname "$0")/library.sh" "$1"
here=$(cd "$(dirname "$0")" && pwd)
PATH=/usr/bin:$PATH:/usr/sbin:/sbin # libnbd's Python is the system's
export PATH

for tool in nbdcopy nbdinfo nbdsh qemu-img qemu-io fio openssl; do
  command -v $tool >/dev/null || { say "missing: $tool: tools/setup installs it"; exit 1; }
done
python3 -c 'import nbd' || { say "missing: python3-libnbd"; exit 1; }

socket=$work/s
uri="nbd+unix:///?socket=$socket"
bytes=$((96 * 1024 * 1024 + 4097))

# serve OPTIONS...: on the Unix socket alone.
serve() {
  start server "$bin/qpip-nbd-server" --listen "$socket" "$@"
  server=$started
}
# every_command URI: the script for nbdsh.
every_command() {
  timeout 100 nbdsh -c 'h.add_meta_context("base:allocation")' -c "h.connect_uri('$1')" \
    -c "exec(open('$here/nbd_commands.py').read())"
}

# Every command: a file and memory on a Unix socket and TCP, and a file through queue pairs.
truncate -s $bytes "$work/disk"
serve "$work/disk"
check "every command, a file, Unix socket" every_command "$uri"
stop "$server"
grep -q " 7 errors\| 8 errors" "$work/server.out" || fail "its count of errors: $(cat "$work/server.out")"
start server "$bin/qpip-nbd-server" --listen "[::1]:0" m=memory:$bytes
server=$started
tcp=$(sed -n 's/^listening on \(nbd:[^,]*\), .*/\1/p' "$work/server.out")
check "every command, memory, TCP" every_command "$tcp"
stop "$server"
rm "$work/disk"
truncate -s $bytes "$work/disk"
start server "$bin/qpip-nbd-server" --nic "$fabric?address=fd00::1" --listen "$socket" "$work/disk"
server=$started
start client "$bin/qpip-nbd-client" --nic "$fabric?address=fd00::2" --socket "$work/relay" fd00::1
client=$started
check "every command, a file, queue pairs" every_command "nbd+unix:///?socket=$work/relay"
check "the same server's Unix socket beside them" timeout 30 nbdinfo --size "$uri"
stop "$client"
stop "$server"

# A sparse image: its holes are told, and kept by copies both ways.
truncate -s 64M "$work/sparse"
dd if=/dev/urandom of="$work/sparse" bs=1M seek=10 count=2 conv=notrunc status=none
truncate -s 64M "$work/back"
serve "sparse=$work/sparse" "back=$work/back"
check "nbdinfo --map" timeout 30 nbdinfo --map "nbd+unix:///sparse?socket=$socket"
[ "$(awk '{ print $1, $2, $3 }' "$work/check.out" | tr '\n' ';')" = \
  "0 10485760 3;10485760 2097152 0;12582912 54525952 3;" ] || fail "its map: $(cat "$work/check.out")"
check "qemu-img map" timeout 30 qemu-img map --output=json \
  "json:{\"driver\":\"raw\",\"file\":{\"driver\":\"nbd\",\"server\":{\"type\":\"unix\",\"path\":\"$socket\"},\"export\":\"sparse\"}}"
[ "$(grep -c '"zero": true' "$work/check.out")" -eq 2 ] || fail "qemu's map: $(cat "$work/check.out")"
check "nbdcopy of it to a file" timeout 60 nbdcopy "nbd+unix:///sparse?socket=$socket" "$work/copy"
check "nbdcopy from export to export" timeout 60 nbdcopy --connections=16 --requests=64 --flush \
  "nbd+unix:///sparse?socket=$socket" "nbd+unix:///back?socket=$socket"
for copy in copy back; do
  cmp "$work/sparse" "$work/$copy" || fail "$copy differs"
  [ "$(du -k "$work/$copy" | cut -f1)" -le 4096 ] || fail "$copy lost its holes: $(du -k "$work/$copy")"
done
check "qemu-img compare" timeout 60 qemu-img compare -f raw -F raw \
  "nbd:unix:$socket:exportname=sparse" "$work/copy"
stop "$server"

# qemu's and fio's own checks; a size that is no multiple of anything.
truncate -s 4097 "$work/odd"
truncate -s 32M "$work/fio"
serve "fio=$work/fio" "odd=$work/odd"
check "qemu-io: write, zero, discard, read, flush" timeout 60 qemu-io -f raw -c "write -P 7 1000 5000" \
  -c "write -z 2000 1000" -c "write -z -u 64k 64k" -c "discard 1M 1M" -c "read -P 7 1000 1000" \
  -c "read -P 0 2000 1000" -c "read -P 7 3000 3000" -c "flush" "nbd:unix:$socket"
grep -q "failed" "$work/check.out" && fail "qemu-io: $(cat "$work/check.out")"
check "4097 bytes by qemu" timeout 30 qemu-io -f raw -c "write -P 9 4000 97" -c "read -P 9 4000 97" \
  "nbd:unix:$socket:exportname=odd"
check "fio verifies" timeout 100 fio --name=v --ioengine=nbd --uri="$uri" --rw=randrw --bsrange=512-300k \
  --iodepth=32 --size=32M --io_size=64M --verify=crc32c --verify_fatal=1 --trim_percentage=5
stop "$server"

# A file that grows: who comes then has all of it, who was there has what there was.
truncate -s 1M "$work/grows"
serve "$work/grows"
check "a file that grows under a client" timeout 30 nbdsh -c "h.connect_uri('$uri')" -c "
import os, nbd
os.truncate('$work/grows', 2 << 20)
assert h.get_size() == 1 << 20
h.set_strict_mode(0)
try:
    h.pwrite(b'x', 1 << 20)
    raise SystemExit('a write past what it was told')
except nbd.Error as error:
    assert error.errno == 'ENOSPC', error
new = nbd.NBD()
new.connect_uri('$uri')
assert new.get_size() == 2 << 20
new.pwrite(b'x' * 512, (2 << 20) - 512)
h.pwrite(b'y' * 512, 0)
os.truncate('$work/grows', 4096)
again = nbd.NBD()
again.connect_uri('$uri')
assert again.get_size() == 4096
try:
    new.pread(512, 1 << 20)
    raise SystemExit('a read of what is gone')
except nbd.Error as error:
    assert error.errno == 'EIO', error
assert bytes(again.pread(512, 0)) == b'y' * 512"
stop "$server"

# What is said of exports; read-only for one of them.
serve --read-only-export odd --description "odd=4097 bytes" "a=$work/fio" "odd=$work/odd"
check "nbdinfo --list" timeout 30 nbdinfo --list "$uri"
grep -q "description: 4097 bytes" "$work/check.out" || fail "no description: $(cat "$work/check.out")"
[ "$(grep -c "is_read_only: true" "$work/check.out")" -eq 1 ] || fail "read-only: $(cat "$work/check.out")"
timeout 30 nbdcopy "$work/copy" "nbd+unix:///odd?socket=$socket" 2>/dev/null && fail "a read-only export was written"
check "the other may be written" timeout 30 qemu-io -f raw -c "write 0 512" "nbd:unix:$socket:exportname=a"
stop "$server"
for bad in "--read-only-export x" "--description x=y" "--listen [::1" "--listen name.example"; do
  timeout 10 "$bin/qpip-nbd-server" --listen "$socket" $bad "$work/odd" >/dev/null 2>"$work/bad.err"
  [ $? -eq 2 ] || fail "$bad: $(cat "$work/bad.err")"
done

# TLS, by keys and by certificates; required unless it is said to be optional.
echo "alice:6e7bc3a2d4f1908877665544332211ff" >"$work/keys"
echo "alice:00112233445566778899aabbccddeeff" >"$work/wrong"
serve --tls-psk "$work/keys" "$work/fio"
psk="nbds+unix://alice@/?socket=$socket&tls-psk-file=$work/keys"
check "TLS by keys" timeout 30 nbdinfo "$psk"
grep -q "with TLS, using \(structured\|extended\) packets" "$work/check.out" || fail "TLS: $(cat "$work/check.out")"
check "nbdcopy over TLS" timeout 60 nbdcopy "$work/fio" "$psk"
check "nbdcopy back" timeout 60 nbdcopy "$psk" "$work/fio2"
cmp "$work/fio" "$work/fio2" || fail "what came back over TLS differs"
timeout 30 nbdinfo "nbds+unix://alice@/?socket=$socket&tls-psk-file=$work/wrong" >/dev/null 2>&1 && fail "a wrong key was taken"
timeout 30 nbdinfo "$uri" >/dev/null 2>&1 && fail "TLS was not required"
stop "$server"
mkdir "$work/pki"
(cd "$work/pki" && openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca-key.pem \
  -out ca-cert.pem && openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -addext subjectAltName=DNS:localhost \
  -keyout server-key.pem -out server.csr && openssl x509 -req -in server.csr -CA ca-cert.pem -CAkey ca-key.pem \
  -CAcreateserial -days 2 -copy_extensions copy -out server-cert.pem) >"$work/openssl.out" 2>&1 ||
  fail "openssl: $(cat "$work/openssl.out")"
start server "$bin/qpip-nbd-server" --listen 127.0.0.1:0 --tls-certificates "$work/pki" --tls-optional "$work/fio"
server=$started
port=$(sed -n 's/^listening on nbd:.*:\([0-9]*\), .*/\1/p' "$work/server.out")
check "TLS by certificates" timeout 30 nbdinfo "nbds://localhost:$port/?tls-certificates=$work/pki"
grep -q "with TLS" "$work/check.out" || fail "TLS: $(cat "$work/check.out")"
check "without, where it is optional" timeout 30 nbdinfo "nbd://localhost:$port"
stop "$server"

# --run: with the variables that nbdkit has; its status is the server's.
check "--run" timeout 30 "$bin/qpip-nbd-server" --run \
  'nbdinfo --size "$uri" && nbdinfo --size "nbd+unix:///?socket=$unixsocket" && qemu-img info "$nbd"' "$work/odd"
[ "$(grep -c '^4097$' "$work/check.out")" -eq 2 ] || fail "--run: $(cat "$work/check.out")"
check "--run on a socket of one's own" timeout 30 "$bin/qpip-nbd-server" --listen "$work/own" --run \
  'test "$unixsocket" = '"$work/own"' && qemu-img info "$nbd"' "$work/odd"
timeout 30 "$bin/qpip-nbd-server" --run 'exit 7' "$work/odd"
[ $? -eq 7 ] || fail "--run: another status"

# A socket that is opened beforehand, as systemd does.
start_quietly() { "$@" >"$work/activated.out" 2>"$work/activated.err" & activated=$!; pids="$pids $activated"; }
start_quietly python3 "$here/activate.py" "$work/a" "$bin/qpip-nbd-server" --once "$work/odd"
tries=0
until [ -S "$work/a" ] || [ $tries -gt 500 ]; do tries=$((tries + 1)); sleep 0.01; done
check "socket activation" timeout 30 nbdinfo --size "nbd+unix:///?socket=$work/a"
status_of "$activated" 10
[ "$status" -eq 0 ] || fail "activated: status $status: $(cat "$work/activated.err")"

# More clients than are served: one line says so, and the next is served when one leaves.
serve --max-connections 1 "$work/odd"
mkfifo "$work/hold"
timeout 60 nbdsh -c "h.connect_uri('$uri')" -c "print('on', flush=True)" -c "open('$work/hold').read()" >"$work/first.out" &
first=$!
pids="$pids $first"
until grep -q on "$work/first.out"; do sleep 0.01; done
timeout 30 nbdinfo --size "$uri" >"$work/second.out" &
second=$!
pids="$pids $second"
until [ -s "$work/server.err" ]; do sleep 0.01; done
grep -q "^qpip-nbd-server: no room for another client: 1 are being served" "$work/server.err" ||
  fail "its line: $(cat "$work/server.err")"
: >"$work/hold"
wait "$second" || fail "the second was not served"
stop "$server"
finish
