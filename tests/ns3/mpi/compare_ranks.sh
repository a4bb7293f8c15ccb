#!/bin/sh
# The same fabric on one rank and on several: what every host saw must be the same, line by line.
set -eu

usage() {
  cat <<'TEXT'
Usage: compare_ranks.sh [-n RANKS] [-r REPEATS] [-t SECONDS] PROGRAM [OPTIONS of fabric_over_ranks]
  -n RANKS    compared with one rank (default 2)
  -r REPEATS  runs of each, by turns (default 1); times are medians
  -t SECONDS  after which a run is given up (default 120)
Prints what one and RANKS ranks took, and the speed-up. Fails when they differ. The speed-up says
something only when there is an idle core for each rank: ranks wait for each other actively.
TEXT
}

ranks=2 repeats=1 limit=120
while getopts n:r:t:h option; do
  case $option in
    n) ranks=$OPTARG ;;
    r) repeats=$OPTARG ;;
    t) limit=$OPTARG ;;
    h) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || { usage >&2; exit 2; }
program=$1
shift

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

run() { # run RANKS OPTIONS...
  count=$1
  shift
  # Open MPI's ranks yield their core while they wait only where there are too few cores: whoever
  # yields to another program gets the core back a time slice later, and that in every window.
  share=
  [ "$count" -le "$(nproc)" ] || share=--oversubscribe
  # Frames of a window cross in one piece; Open MPI's own limit is 4 KiB.
  status=0
  timeout "$limit" mpirun --allow-run-as-root --bind-to none $share \
    --mca btl_vader_eager_limit 65536 -n "$count" "$program" --out "$work/out" "$@" \
    >"$work/log" 2>&1 || status=$?
  if [ "$status" -ne 0 ]; then
    cat "$work/log" >&2
    [ "$status" -ne 124 ] || echo "no end after $limit s on $count rank(s)" >&2
    exit 1
  fi
  sort -n "$work"/out.* >"$work/lines.$count"
  rm "$work"/out.*
  [ -s "$work/lines.$count" ] || { echo "no host wrote anything" >&2; exit 1; }
  # The slowest rank's.
  sed -n 's/.* \([0-9.]*\) s$/\1/p' "$work/log" | sort -n | tail -n 1 >>"$work/seconds.$count"
}

median() { sort -n "$1" | awk '{ all[NR] = $1 } END { print (all[int((NR + 1) / 2)] + all[int(NR / 2) + 1]) / 2 }'; }

repeat=0
while [ "$repeat" -lt "$repeats" ]; do
  run 1 "$@"
  run "$ranks" "$@"
  if ! cmp -s "$work/lines.1" "$work/lines.$ranks"; then
    echo "the runs differ:" >&2
    diff "$work/lines.1" "$work/lines.$ranks" | head -n 20 >&2
    exit 1
  fi
  repeat=$((repeat + 1))
done
cat "$work/log"
one=$(median "$work/seconds.1")
several=$(median "$work/seconds.$ranks")
echo "$(wc -l <"$work/lines.1") hosts, identical on 1 and $ranks ranks; $one s and $several s, speed-up" \
  "$(awk -v a="$one" -v b="$several" 'BEGIN { printf "%.2f", a / b }')"
