#!/bin/sh
# The same fabric on one rank and on two: what every host saw must be the same, line by line.
# Prints the wall time of both. Usage: compare_ranks.sh PROGRAM [NICS [PEERS [MESSAGE [MESSAGES [CABLE_US]]]]]
set -eu
program=$1
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

run() { # run RANKS ARGUMENTS...
  ranks=$1
  shift
  mpirun --allow-run-as-root --oversubscribe --bind-to none -n "$ranks" "$program" \
    "$work/out$ranks" "$@" >"$work/log$ranks" 2>&1 || { cat "$work/log$ranks"; exit 1; }
  cat "$work/log$ranks"
  sort -n "$work/out$ranks".* >"$work/lines$ranks"
}

run 1 "$@"
run 2 "$@"
seconds() { sed -n 's/.* \([0-9.]*\) s$/\1/p' "$1" | sort -n | tail -n 1; }
[ -s "$work/lines1" ] || { echo "no host wrote anything"; exit 1; }
if ! cmp -s "$work/lines1" "$work/lines2"; then
  echo "the runs differ:"
  diff "$work/lines1" "$work/lines2" | head -n 20
  exit 1
fi
one=$(seconds "$work/log1") two=$(seconds "$work/log2")
echo "$(wc -l <"$work/lines1") hosts, identical on 1 and 2 ranks; speed-up" \
  "$(awk -v a="$one" -v b="$two" 'BEGIN { printf "%.2f", a / b }')"
