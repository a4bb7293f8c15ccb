#!/bin/sh
# Floods of SYNs against a queue pair listener and against the kernel's: no client that means it is
# reset or shut out, its connects take about as long as beside the kernel's, and strangers are sent no
# more than they have sent. Prints a line of JSON for each flood. What time is judged by: half of the
# connects need no repeated SYN; with `all`, on a machine that does nothing else, the slowest of a hundred
# is within 5 ms of the kernel's.
# Usage: syn_flood_test.sh BIN_DIR [all]
. "$(dirname "$0")/../interop/library.sh" "$1"
attack=$bin/qpip-attack-syn-flood
seconds=3
rates="0 50 5000"
sizes="4 64"
percentile=p50
near_ms=500
if [ "${2:-}" = all ]; then
  seconds=8
  rates="0 50 500 5000 50000 200000 0"
  sizes="1 4 64 512"
  percentile=p99
  near_ms=5
fi
clients=$namespace
within "$clients" sysctl -qw net.ipv4.tcp_tw_reuse=1 net.ipv4.ip_local_port_range="1024 65000"

# flood LABEL INTERFACE MAC TARGET RATE: the clients' side, into $work/flood.json.
flood() {
  within "$clients" timeout 120 "$attack" attack "$2" "$3" "$4" "$5" "$seconds" \
    >"$work/flood.json" 2>"$work/flood.err" || fail "$1: $(cat "$work/flood.err")"
  say "$1: $(cat "$work/flood.json")"
}
value() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$work/flood.json" "$1"; }

# --- The control: the kernel's listener, behind a pair of devices.
make_namespace
kernel=$namespace
holder=${kernel#/proc/}
holder=${holder%%/*}
within "$clients" ip link add veth0 address 02:00:00:00:01:02 type veth peer name veth1 \
  address 02:00:00:00:01:01 netns "$holder"
within "$clients" ip addr add fd01::2/64 dev veth0 nodad
within "$clients" ip link set veth0 up
within "$kernel" ip addr add fd01::1/64 dev veth1 nodad
within "$kernel" ip link set veth1 up
within "$kernel" ip route add default via fd01::2
start kernel within "$kernel" "$attack" serve-kernel 64
for rate in $rates; do
  flood "kernel, $rate SYNs a second" veth0 02:00:00:00:01:01 fd01::1 "$rate"
  value connect_${percentile}_ms >"$work/kernel.$rate"
done
kill "$started"

# --- Queue pairs.
for offered in $sizes; do
  start server "$attack" serve-qpip "tap:qpip0?address=fd00::1&mac=02:00:00:00:00:01&host=fd00::2/64\
&netns=$clients&dad=0&route=fd66::/16@fd00::2" "$offered"
  server=$started
  within "$clients" ping -6 -c 1 -W 5 fd00::1 >"$work/ping" || fail "no answer: $(cat "$work/ping")"
  for rate in $rates; do
    label="$offered queue pairs, $rate SYNs a second"
    flood "$label" qpip0 02:00:00:00:00:01 fd00::1 "$rate"
    check "$label: nobody is reset or shut out" json "$work/flood.json" \
      "r['resets'] == r['refused'] == r['timeouts'] == 0 and r['echoes'] == r['connects'] > 0"
    check "$label: connects as beside the kernel's" json "$work/flood.json" \
      "r['connect_${percentile}_ms'] <= $(cat "$work/kernel.$rate") + $near_ms"
    check "$label: no more bytes than came" json "$work/flood.json" "r['out_for_in'] <= 1.2"
  done
  stop "$server"
  say "$offered queue pairs: $(tail -n 1 "$work/server.out" | python3 -c '
import json, sys
counters = json.load(sys.stdin)["counters"]
names = ("connections_", "syn", "handshakes_", "peers_", "wire_busy")
print({name: counters[name] for name in counters if name.startswith(names)})')"
done
finish
