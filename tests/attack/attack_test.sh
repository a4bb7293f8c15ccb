#!/bin/sh
# Clients before, during and after attacks of many kinds, on a server with queue pairs and on one with the
# kernel's sockets, each with a server of its own. Judged by results.py; with `all`, on a machine that does
# nothing else, by shares and times as well.
# Usage: attack_test.sh BIN_DIR [all | KIND...]
# QPIP_ATTACK_RESULTS: a file that each trial is appended to, a line of JSON each.
. "$(dirname "$0")/library.sh" "$1"
shift
seconds=3
rate=10000
judge=""
case "${1:-}" in
  "")
    kinds=$("$attack" list quick | cut -f 1)
    seconds=1
    rate=5000
    ;;
  all)
    kinds=$("$attack" list | cut -f 1)
    judge=--strict
    ;;
  *) kinds=$* ;;
esac
results=${QPIP_ATTACK_RESULTS:-$work/results}
: >"$work/trials"

# trial VICTIM INTERFACE LINK TARGET: appends what a kind of attack has come to; ends the server.
trial() {
  if within "$clients" timeout 120 "$attack" run "$2" "$3" "$4" "$(link_of "$2")" "$kind" "$rate" "$seconds" \
    >"$work/trial" 2>"$work/trial.err"; then
    stop "$started"
    printf '{"victim": "%s", "trial": %s, "left": %s}\n' "$1" "$(tail -n 1 "$work/trial")" \
      "$(tail -n 1 "$work/server.out")" >>"$work/trials"
  else
    fail "$kind on $1: $(cat "$work/trial.err" "$work/server.err")"
    stop "$started"
  fi
}

for kind in $kinds; do
  serve_kernel && trial kernel veth0 "$kernel_link" fd01::1
  serve_qpip 64 1024 && trial qpip qpip0 "$qpip_link" fd00::1
done
cat "$work/trials" >>"$results"
check "every kind was tried twice" test "$(wc -l <"$work/trials")" -eq $((2 * $(echo "$kinds" | wc -w)))
python3 "$(dirname "$0")/results.py" check $judge "$work/trials" || fail "clients were not served as they should be"
finish
