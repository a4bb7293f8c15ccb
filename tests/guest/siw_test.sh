#!/usr/bin/env bash
# The machines of protocols/iwarp against Linux's own iWARP, siw, in a guest: rping both roles, with and without CRCs,
# over IPv6; messages that are wrong, and the Terminate that answers them.
#
# Usage: siw_test.sh PEER_PROGRAM [ROUNDS]. Exits with 77 where there can be no guest.
set -uo pipefail
here=$(dirname "$(realpath "$0")")
peer=$1
rounds=${2:-100}
name=siw
. "$here/library.sh"
inside ip address add fd00::1/64 dev tap0 nodad

# guest_asks WHAT OPTIONS...: rping in the guest is the client.
guest_asks() {
  local what=$1
  shift
  # Not by the function: that would be a shell of its own, which `kill` ends alone.
  ip netns exec "$space" timeout 150 "$peer" serve fd00::1 7174 "$rounds" "$@" >"$work/peer" 2>&1 &
  local server=$!
  inside "$here/run_guest" "$cache" tap0 fd00::2/64 rping -c -a fd00::1 -p 7174 -C "$rounds" -V >"$work/guest" 2>&1
  local guest=$?
  ((guest == 0)) || kill "$server" 2>/dev/null
  wait "$server"
  result "$what" $? "$guest"
}
# guest_answers WHAT GUEST_STATUS OPTIONS...: rping in the guest is the server, which ends with that status.
guest_answers() {
  local what=$1 expected=$2
  shift 2
  ip netns exec "$space" timeout 150 "$peer" connect fd00::2 7174 "$rounds" "$@" >"$work/peer" 2>&1 &
  local client=$!
  inside "$here/run_guest" "$cache" tap0 fd00::2/64 rping -s -a fd00::2 -p 7174 -S 4096 -V >"$work/guest" 2>&1
  local guest=$?
  wait "$client"
  local ended=$?
  [[ $expected == any || $guest == "$expected" ]] && guest=0
  result "$what" "$ended" "$guest"
}

guest_asks "rping asks, with CRCs" crc
guest_asks "rping asks, without CRCs"
guest_answers "rping answers, with CRCs" any crc
guest_answers "rping answers, without CRCs" any
explained="crc error"
guest_answers "a bad CRC" any crc bad_crc
guest_answers "a bad STag" any crc bad_stag
guest_answers "a Send that is longer than its receive" any crc long_send
exit "$failed"
