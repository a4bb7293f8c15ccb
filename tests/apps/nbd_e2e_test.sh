#!/bin/sh
# qpip-nbd-server and qpip-nbd-client over a fabric in shared memory, driven by the usual NBD tools:
# images in and out, losses, a killed server, a cut wire, a file system.
# Usage: nbd_e2e_test.sh BIN_DIR [MEBIBYTES [--vconn]]
. "$(dirname "$0")/library.sh" "$1"
size=${2:-32}
mode=${3:-}  # of server and client
# What the client says of a connection that has broken: the status of its work request, or that of VCONN.
why="IBV_WC_"
[ "$mode" != --vconn ] || why="vconn: connection with .*: (unreachable|timed out|reset by peer)"

for tool in nbdcopy nbdinfo qemu-img qemu-io mke2fs e2fsck sha256sum; do
  PATH=$PATH:/usr/sbin:/sbin
  command -v $tool >/dev/null || { say "missing: $tool: install libnbd-bin, qemu-utils, e2fsprogs"; exit 1; }
done

socket=$work/s
uri="nbd+unix:///?socket=$socket"
sum() { sha256sum <"$1"; }

# serve PARAMETERS EXPORTS...: starts a server at fd00::1; sets $server.
serve() {
  parameters=$1
  shift
  start server "$bin/qpip-nbd-server" ${mode:+"$mode"} --nic "$fabric?address=fd00::1$parameters" "$@"
  server=$started
}
# connect PARAMETERS OPTIONS...: starts a client at fd00::2; sets $client.
connect() {
  parameters=$1
  shift
  start client "$bin/qpip-nbd-client" ${mode:+"$mode"} --nic "$fabric?address=fd00::2$parameters" \
    --socket "$socket" "$@" fd00::1
  client=$started
}

# round_trip LABEL PARAMETERS: a random image in by nbdcopy and out again, equal each time.
round_trip() {
  label=$1
  rm -f "$work/disk" "$work/out"
  truncate -s "${size}M" "$work/disk"
  serve "$2" "disk=$work/disk" && connect "$2"
  check "$label: nbdcopy in" timeout 200 nbdcopy --flush "$work/image" "$uri"
  check "$label: nbdcopy out" timeout 200 nbdcopy "$uri" "$work/out"
  want=$(sum "$work/image")
  [ "$(sum "$work/disk")" = "$want" ] || fail "$label: the disk differs from the image"
  [ "$(sum "$work/out")" = "$want" ] || fail "$label: what came back differs from the image"
  stop "$client"
  stop "$server"
  say "ok: $label: $size MiB in and out, sha256 ${want%% *}"
}

head -c "${size}M" /dev/urandom >"$work/image"
round_trip "clean" ""
round_trip "loss=0.01" "&loss=0.01&seed=3"
round_trip "reordering, duplicates" "&reorder=0.01&duplicate=0.01&seed=4"

# Several exports, one of them read-only for all by its server.
truncate -s 1M "$work/a" "$work/b"
serve "" "a=$work/a" "b=$work/b" && connect ""
check "nbdinfo --list" timeout 30 nbdinfo --list "$uri"
[ "$(grep -c '^export=' "$work/check.out")" -eq 2 ] || fail "--list: $(cat "$work/check.out")"
check "nbdinfo of the second export" timeout 30 nbdinfo "nbd+unix:///b?socket=$socket"
check "qemu-img info" timeout 30 qemu-img info --output=json "nbd:unix:$socket:exportname=a"
grep -q '"virtual-size": 1048576' "$work/check.out" || fail "qemu-img: $(cat "$work/check.out")"
check "qemu-img convert" timeout 60 qemu-img convert -f raw -O raw "nbd:unix:$socket:exportname=a" "$work/a2"
stop "$client"
stop "$server"

serve "" --read-only "a=$work/a" && connect ""
timeout 30 nbdcopy "$work/b" "$uri" >"$work/out" 2>&1 && fail "a read-only export was written"
check "reading a read-only export" timeout 30 nbdcopy "$uri" "$work/a3"
stop "$client"
stop "$server"

# Writes that the server's file refuses are errors at the tool, and the connection goes on. A limit on
# the size of files, 3 GiB in POSIX's blocks of 512 bytes, stands for a full disk; the fabric's are sparse
# ones of 2 GiB.
truncate -s 3073M "$work/full"
cat >"$work/limited" <<'END'
ulimit -f 6291456
exec "$@"
END
start server sh "$work/limited" "$bin/qpip-nbd-server" ${mode:+"$mode"} --nic "$fabric?address=fd00::1" \
  "full=$work/full"
server=$started
connect ""
timeout 30 qemu-io -f raw -c "write -P 1 3071M 1M" -c "aio_write -P 2 3072M 1M" \
  -c "aio_write -P 3 1M 64K" -c "aio_flush" -c "flush" -c "read -P 1 3071M 1M" -c "read -P 3 1M 64K" \
  -c "read -P 0 3072M 1M" "nbd:unix:$socket:exportname=full" >"$work/io.out" 2>&1
[ "$(grep -c '^aio_write failed: ' "$work/io.out")" -eq 1 ] || fail "full disk: $(cat "$work/io.out")"
[ "$(grep -c '^read [0-9]*/[0-9]* bytes' "$work/io.out")" -eq 3 ] ||
  fail "after a failed write: $(cat "$work/io.out")"
grep -q "Pattern verification failed" "$work/io.out" && fail "patterns: $(cat "$work/io.out")"
say "ok: a full disk"
stop "$client"
stop "$server"
grep -q "1 errors" "$work/server.out" || fail "server's count of errors: $(cat "$work/server.out")"
rm -f "$work/full"

# A file system made on this side is whole on the other, and back.
mkdir -p "$work/tree/sub"
cp "$0" "$work/tree/"
head -c 300K /dev/urandom >"$work/tree/sub/random"
check "mke2fs" mke2fs -q -t ext2 -d "$work/tree" "$work/fs" 8M
truncate -s 8M "$work/disk8"
serve "" "disk=$work/disk8" && connect ""
check "file system in" timeout 60 nbdcopy --flush "$work/fs" "$uri"
check "file system out" timeout 60 nbdcopy "$uri" "$work/fs2"
check "e2fsck of the server's disk" e2fsck -fn "$work/disk8"
check "e2fsck of the copy" e2fsck -fn "$work/fs2"
stop "$client"

# The server is killed in the middle of a transfer: the tool fails, the client says why and exits
# with status 1 in bounded time, and a server that is started again serves again.
head -c 64M /dev/urandom >"$work/big"
truncate -s 64M "$work/disk64"
stop "$server"
serve "&delay_us=2000" "disk=$work/disk64" && connect "&checksum=1" --exit-when-broken
timeout 100 nbdcopy "$work/big" "$uri" >"$work/copy.out" 2>&1 &
copy=$!
pids="$pids $copy"
while [ "$(du -k "$work/disk64" | cut -f1)" -lt 256 ]; do sleep 0.01; done
kill -KILL "$server"
wait "$server" 2>/dev/null
status_of "$client" 30
[ "$status" -eq 1 ] || fail "client of a killed server: status $status"
[ "$(wc -l <"$work/client.err")" -eq 1 ] || fail "client: not one line: $(cat "$work/client.err")"
grep -qE "^qpip-nbd-client: .*$why" "$work/client.err" || fail "client: $(cat "$work/client.err")"
say "the client said: $(cat "$work/client.err")"
wait "$copy" && fail "nbdcopy succeeded although the server was killed"
[ -e "$socket" ] && fail "the client left its socket behind"
connect "" --wait-for-server 20
serve "" "disk=$work/disk64"
check "after the restart: nbdcopy" timeout 100 nbdcopy --flush "$work/big" "$uri"
[ "$(sum "$work/disk64")" = "$(sum "$work/big")" ] || fail "after the restart: the disk differs"
stop "$client"
stop "$server"

# The client waits for a server that is not there yet.
connect "" --wait-for-server 20
timeout 60 nbdinfo "$uri" >"$work/info.out" 2>&1 &
info=$!
pids="$pids $info"
serve "" "disk=$work/disk64"
wait "$info" || fail "--wait-for-server: $(cat "$work/info.out" "$work/client.err")"
say "ok: --wait-for-server"
stop "$client"
stop "$server"

# The wire is cut: the transfer stops with an error on both sides, in bounded time.
serve "&user_timeout_ms=2000&checksum=1" "disk=$work/disk64"
connect "&user_timeout_ms=2000&cut_after_frames=300" --exit-when-broken
timeout 100 nbdcopy "$work/big" "$uri" >"$work/copy.out" 2>&1 && fail "nbdcopy crossed a cut wire"
status_of "$client" 30
[ "$status" -eq 1 ] || fail "client behind a cut wire: status $status"
grep -qE "^qpip-nbd-client: .*$why" "$work/client.err" || fail "client: $(cat "$work/client.err")"
say "the client said: $(cat "$work/client.err")"
stop "$server"

# A server that is told to stop in mid-transfer ends cleanly.
serve "&delay_us=100000" "disk=$work/disk64" && connect "&checksum=1"
timeout 100 nbdcopy "$uri" "$work/out64" >"$work/copy.out" 2>&1 &
copy=$!
pids="$pids $copy"
while ! [ -s "$work/out64" ]; do sleep 0.01; done
stop "$server"
wait "$copy" && fail "nbdcopy succeeded although the server was stopped"
kill -TERM "$client" 2>/dev/null
status_of "$client" 20
[ "$status" -ne 124 ] || fail "the client of a stopped server did not end"
finish
