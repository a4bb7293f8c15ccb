#!/bin/sh
# Floods of SYNs of many strengths against listeners with few queue pairs and with many, and against the
# kernel's: no client that means it is reset or shut out, connects take as long as beside the kernel's, and
# strangers are sent no more than they have sent. For a machine that does nothing else.
# Usage: syn_flood_test.sh BIN_DIR [RATE...]
. "$(dirname "$0")/library.sh" "$1"
shift
rates=${*:-50 500 5000 50000 200000}
seconds=8

# flood LABEL INTERFACE LINK TARGET RATE
flood() {
  within "$clients" timeout 120 "$attack" run "$2" "$3" "$4" "$(link_of "$2")" syn-flood "$5" $seconds \
    >"$work/flood.json" 2>"$work/flood.err" || fail "$1: $(cat "$work/flood.err")"
  say "$1: $(cat "$work/flood.json")"
}
value() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["during"][sys.argv[2]])' "$work/flood.json" "$1"; }

serve_kernel
for rate in $rates; do
  flood "kernel, $rate SYNs a second" veth0 "$kernel_link" fd01::1 "$rate"
  value connect_p99_ms >"$work/kernel.$rate"
done
stop "$started"

for offered in 4 64 512; do
  serve_qpip "$offered" "$offered"
  for rate in $rates; do
    label="$offered queue pairs, $rate SYNs a second"
    flood "$label" qpip0 "$qpip_link" fd00::1 "$rate"
    for phase in during settling after; do
      check "$label: nobody is reset or refused $phase" json "$work/flood.json" \
        "r['$phase']['resets'] == r['$phase']['refused'] == 0"
    done
    check "$label: as before a second after" json "$work/flood.json" \
      "r['after']['timeouts'] == 0 and r['after']['connect_p99_ms'] <= r['before']['connect_p99_ms'] + 5"
    check "$label: no more bytes than came" json "$work/flood.json" "r['out_for_in'] <= 1.2"
    [ "$rate" -gt 50000 ] || check "$label: connects as beside the kernel's" json "$work/flood.json" \
      "r['during']['timeouts'] == 0 and r['during']['connect_p99_ms'] <= $(cat "$work/kernel.$rate") + 5"
  done
  stop "$started"
done
finish
