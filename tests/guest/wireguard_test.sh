#!/usr/bin/env bash
# wg: against Linux's own WireGuard, in a guest: each in each role of the handshake, with a preshared key; a ping, and a
# stream each way between a queue pair and the guest's sockets.
#
# Usage: wireguard_test.sh BIN_DIR [MIB]. Exits with 77 where there can be no guest. The guest is kept in
# QPIP_GUEST, ~/.cache/qpip-guest by default.
set -uo pipefail
here=$(dirname "$(realpath "$0")")
bin=$1
mib=${2:-8}
cache=${QPIP_GUEST:-${XDG_CACHE_HOME:-$HOME/.cache}/qpip-guest}

skip() { echo "wireguard_test: $*: skipped"; exit 77; }
[[ $(id -u) == 0 ]] || skip "not root"
command -v qemu-system-x86_64 >/dev/null || skip "there is no qemu-system-x86_64"
command -v wg >/dev/null || skip "there is no wg"
"$here/make_guest" "$cache"
case $? in
  0) ;;
  77) skip "no guest can be made" ;;
  *) exit 1 ;;
esac

space=qpip-wg-$$
work=$(mktemp -d)
trap 'ip netns del "$space" 2>/dev/null; rm -rf "$work"' EXIT
ip netns add "$space" || skip "no network namespaces"
inside() { ip netns exec "$space" "$@"; }
inside ip link set lo up
inside ip tuntap add tap0 mode tap || skip "no tap devices"
inside sysctl -qw net.ipv6.conf.tap0.accept_dad=0
inside ip link set tap0 up
inside ip address add fd00::1/64 dev tap0 nodad

umask 077
wg genkey >"$work/near"
wg genkey >"$work/far"
wg genpsk >"$work/preshared"
# conf [ENDPOINT]: our file.
conf() {
  cat >"$work/near.conf" <<CONF
[Interface]
PrivateKey = $(<"$work/near")
Address = fd10::1/64
ListenPort = 51820
[Peer]
PublicKey = $(wg pubkey <"$work/far")
PresharedKey = $(<"$work/preshared")
AllowedIPs = fd10::2/128
${1:+Endpoint = $1}
CONF
}
guest() { # guest ROLE
  inside "$here/run_guest" "$cache" tap0 fd00::2/64 /own/wireguard_guest.sh "$1" "$(<"$work/far")" \
    "$(wg pubkey <"$work/near")" "$(<"$work/preshared")" $((mib << 20)) >"$work/guest" 2>&1
}

failed=0
# result WHAT CHECK: ours has reported `r`, whose wire's counters are `w`.
result() {
  if [[ $ours == 0 && $theirs == 0 ]] && python3 - "$work/ours" "$2" <<'PYTHON'; then
import json, sys
r = json.loads(open(sys.argv[1]).read().splitlines()[-1])
w = r["nic"]["port"]["wire"]
assert eval(sys.argv[2]), w
PYTHON
    echo "ok: $1"
  else
    echo "FAILED: $1: ours ended with $ours, the guest with $theirs"
    sed 's/^/  ours: /' "$work/ours" "$work/ours.err" | cut -c1-300
    sed 's/^/  guest: /' "$work/guest" | tail -n 30
    failed=1
  fi
  if grep -a '^guest-log:' "$work/guest" | grep -aiE 'wireguard.*(warn|bug|oops)|bug:|oops'; then failed=1; fi
}

# The guest begins; ours does not know where it is.
conf
inside timeout 200 "$bin/qpip-ttcp" -r --stream -l 64K --json --statistics --timeout 0 --nic "wg:$work/near.conf" \
  >"$work/ours" 2>"$work/ours.err" &
receiver=$!
guest asks
theirs=$?
((theirs == 0)) || kill "$receiver" 2>/dev/null
wait "$receiver"
ours=$?
result "the kernel begins the handshake: pings, and sends a stream" \
  "r['bytes'] == $mib << 20 and w['responses_sent'] >= 1 and w['initiations_taken'] >= 1 and w['responses_taken'] == 0"

# Ours begins, when the guest is there: a connection is tried until then.
conf "[fd00::2]:51820"
inside timeout 200 "$bin/qpip-ttcp" -t --stream -l 64K -n $((mib * 16)) --json --statistics --wait-for-server 100 \
  --nic "wg:$work/near.conf" fd10::2 >"$work/ours" 2>"$work/ours.err" &
sender=$!
guest answers
theirs=$?
((theirs == 0)) || kill "$sender" 2>/dev/null
wait "$sender"
ours=$?
result "ours begins the handshake: sends a stream" \
  "r['bytes'] == $mib << 20 and w['responses_taken'] >= 1 and w['initiations_taken'] == 0"
exit "$failed"
