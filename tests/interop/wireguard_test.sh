#!/bin/sh
# QPIP over wg: against Debian's wireguard-go with the kernel's sockets behind it, in two namespaces
# with a link between them; QPIP's side runs as a user without privileges.
# Usage: wireguard_test.sh BIN_DIR [MIB [SECONDS]]: of each transfer; of the one across new keys.
. "$(dirname "$0")/library.sh" "$1"
mib=${2:-32}
seconds=${3:-20}  # new keys come every 5 s, and a little later, for as long as there is something to send
for command in wireguard-go wg dumpcap tshark setpriv; do
  command -v "$command" >/dev/null || { say "FAILED: there is no $command: see tools/setup"; exit 1; }
done

# --- Two hosts and a link: $far has the kernel's sockets, $near is ours.
far=$first_namespace
make_namespace
near=$namespace
within "$far" ip link add outer mtu 1500 type veth peer name outer mtu 1500 netns "${near#/proc/}" 2>/dev/null ||
  within "$far" ip link add outer mtu 1500 type veth peer name outer mtu 1500 netns "$(echo "$near" | cut -d/ -f3)"
for side in "$far 2" "$near 1"; do
  # shellcheck disable=SC2086
  set -- $side
  within "$1" ip addr add "192.0.2.$2/24" dev outer
  within "$1" ip addr add "2001:db8::$2/64" dev outer nodad
  within "$1" ip link set outer up
done

# Our commands, there, as nobody, without capabilities; copies, since nobody may not look into everybody's home.
mkdir -m 755 "$work/bin" "$work/programs"
chmod 755 "$work"
for command in qpip-ping qpip-ttcp qpip-nbd-server; do
  install -m 755 "$bin/$command" "$work/programs/"
  printf '#!/bin/sh\nexec nsenter --net=%s -- setpriv --reuid 65534 --regid 65534 --clear-groups \\\n  %s %s/%s "$@"\n' \
    "$near" "--bounding-set -all --inh-caps -all --no-new-privs" "$work/programs" "$command" >"$work/bin/$command"
  chmod 755 "$work/bin/$command"
done
bin=$work/bin

# --- Keys, and the far side's interface.
umask 077
for name in near far other; do
  wg genkey >"$work/$name.key"
  wg pubkey <"$work/$name.key" >"$work/$name.pub"
done
wg genpsk >"$work/psk"
# Its control socket's name is seen by everybody on this machine.
interface=qpip$$
trap 'rm -f "/var/run/wireguard/$interface.sock"; cleanup_all' EXIT
inner_far=fd10::2
start_far() {
  nsenter --net="$far" -- env LOG_LEVEL=error wireguard-go -f "$interface" >"$work/wireguard-go.log" 2>&1 &
  wireguard=$!
  pids="$pids $wireguard"
  tries=0
  while ! within "$far" wg show "$interface" >/dev/null 2>&1 && [ $tries -lt 500 ]; do
    tries=$((tries + 1))
    sleep 0.01
  done
  within "$far" ip addr add "$inner_far/64" dev "$interface" nodad
  within "$far" ip link set "$interface" up
  within "$far" ip route add fd00::1/128 dev "$interface"
}
start_far
# far_peer KEY=VALUE...: the far side knows ours, and nothing of before.
far_peer() {
  within "$far" wg set "$interface" peer "$(cat "$work/near.pub")" remove
  within "$far" wg set "$interface" listen-port 51820 private-key "$work/far.key" \
    peer "$(cat "$work/near.pub")" allowed-ips fd00::1/128 "$@"
}
# near_conf [LINE...]: our file, as wg-quick has it; lines of its [Peer] section.
near_conf() {
  {
    printf '[Interface]\nPrivateKey = %s\nAddress = 10.0.0.1/24, fd00::1/128\nListenPort = 51820\n' \
      "$(cat "$work/near.key")"
    printf '\n[Peer]\nPublicKey = %s\nAllowedIPs = fd10::/64\n' "$(cat "$work/far.pub")"
    [ $# -eq 0 ] || printf '%s\n' "$@"
  } >"$work/near.conf"
  chown 65534:65534 "$work/near.conf"
  chmod 755 "$work"
}
nic="wg:$work/near.conf"

# --- The far side begins, over IPv4; ours does not know where it is.
far_peer endpoint 192.0.2.1:51820
near_conf
start server "$bin/qpip-ping" -s --nic "$nic" --statistics
server=$started
check "IPv4: the kernel pings" within "$far" ping -6 -c 3 -i 0.1 -W 10 fd00::1
check "IPv4: datagrams of the kernel's are echoed" within "$far" python3 "$peer" ask fd00::1 7 100 1300
stop "$server"
# Whoever starts again has no session any more; the far side would find out in 15 s (see docs/wireguard.md).
far_peer endpoint 192.0.2.1:51820
start receiver "$bin/qpip-ttcp" -r --stream -l 64K --json --statistics --nic "$nic"
receiver=$started
head -c "${mib}M" /dev/urandom >"$work/source"
check "the far side begins: a socket sends" within "$far" timeout 100 python3 "$peer" give fd00::1 5001 "$work/source"
status_of "$receiver" 60
check "the far side begins: it was the responder" json "$work/receiver.out" \
  "r['bytes'] == $mib << 20 and r['nic']['port']['wire']['responses_sent'] >= 1 and \
   r['nic']['port']['wire']['responses_taken'] == 0"

# wireguard-go 0.0.20231211 (Debian 13's) sends to the first quarter of an IPv6 address with the memory of an IPv4
# address that it has sent to: a new process has none.
kill -TERM "$wireguard"
wait "$wireguard" || true
start_far

# --- Ours begins, over IPv6, with a preshared key; the far side learns where we are. By its keepalive ours
# greets whenever it starts.
far_peer preshared-key "$work/psk"
near_conf "PresharedKey = $(cat "$work/psk")" "Endpoint = [2001:db8::2]:51820" "PersistentKeepalive = 25"
transfer "ours begins" "$nic"
check "the far side has learned our address" sh -c \
  "nsenter --net=$far -- wg show $interface endpoints | grep -F '[2001:db8::1]:51820'"

# --- New keys while a stream goes on.
start taker within "$far" python3 "$peer" take 5001 "$work/pattern" "$seconds" $((mib << 20))
taker=$started
check "new keys: QPIP sends" sh -c "timeout 200 '$bin/qpip-ttcp' -t --stream --verify -l 64K -n $((mib * 16)) \
  --json --statistics --nic '$nic?rekey_after_s=1' fd10::2 >'$work/sender.out'"
status_of "$taker" 60
[ "$status" -eq 0 ] || fail "new keys: the socket's side: $(cat "$work/taker.err")"
[ "$(wc -c <"$work/pattern")" -eq $((mib << 20)) ] || fail "new keys: $(wc -c <"$work/pattern") bytes"
wire="r['nic']['port']['wire']"
check "new keys: twice and more" json "$work/sender.out" "$wire['sessions_begun'] >= 3"
check "new keys: nothing was dropped" json "$work/sender.out" "not any(n for k, n in $wire.items() if k.endswith('_dropped'))"

# --- A recording and the log of its keys: every message opens, and inside is what was sent.
install -d -o 65534 -g 65534 "$work/keys"
nsenter --net="$near" -- dumpcap -q -i outer -f "udp port 51820" -w "$work/recording.pcapng" >/dev/null 2>"$work/dumpcap.err" &
dumpcap=$!
pids="$pids $dumpcap"
tries=0
until [ -s "$work/recording.pcapng" ] || [ $tries -ge 1000 ]; do
  tries=$((tries + 1))
  sleep 0.01
done
start taker within "$far" python3 "$peer" take 5001 "$work/pattern"
check "recorded: QPIP sends" timeout 60 "$bin/qpip-ttcp" -t --stream -l 64K -n 32 \
  --nic "$nic?offload=0&keylog=$work/keys/log" fd10::2
kill -TERM "$dumpcap" 2>/dev/null
status_of "$dumpcap" 20
# listed FILTER: the packets of the recording, a line each.
listed() {
  tshark -r "$work/recording.pcapng" -o "wg.keylog_file:$work/keys/log" -o tcp.check_checksum:TRUE \
    -d tcp.port==0-65535,data -Y "$1" 2>/dev/null
}
# decrypted FILTER: how many of them.
decrypted() { listed "$1" | wc -l; }
data=$(decrypted "wg.type == 4 && udp.length > 40")
opened=$(decrypted "wg.type == 4 && ipv6.nxt == 6 && (ipv6.dst == fd10::2 || ipv6.dst == fd00::1)")
[ "$data" -gt 1000 ] && [ "$data" -eq "$opened" ] && say "ok: recorded: all $data packets are decrypted" ||
  fail "recorded: $opened of $data packets are decrypted: $(cat "$work/dumpcap.err")"
bad=$(listed "_ws.malformed || wg.handshake_ok == 0 || tcp.checksum.status == 0")
[ -z "$bad" ] && say "ok: recorded: tshark finds nothing wrong" || fail "recorded: packets are wrong: $bad"

# --- What is wrong is said.
far_peer
near_conf "Endpoint = 192.0.2.2:51820"
sed -i "s|^PublicKey = .*|PublicKey = $(cat "$work/other.pub")|" "$work/near.conf"
check "a wrong key is said to be possible" sh -c \
  "! timeout 60 '$bin/qpip-ping' --nic '$nic' -n 1 --wait-for-server 0 fd10::2 2>'$work/wrong.err' && \
   grep -q 'does not answer handshakes: check' '$work/wrong.err'"
if grep -qF "$(cat "$work/near.key")" "$work"/*.err "$work"/*.out; then fail "a private key was printed"; fi
finish
