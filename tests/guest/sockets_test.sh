#!/bin/sh
# The firmware's RDMA on a tap: device against the machines of protocols/iwarp on the kernel's TCP: rping's rounds both
# ways, with and without CRCs, and what the peer does wrong, each answered by the right Terminate. tshark finds every
# CRC good and nothing wrong in what was recorded. Usage: sockets_test.sh BIN_DIR [ROUNDS]
. "$(dirname "$0")/../interop/library.sh" "$1"
rounds=${2:-50}
nic="tap:qpip0?address=fd00::1&dad=0&host=fd00::2/64&netns=$namespace"

for crc in crc ""; do
  with=${crc:+with CRCs}
  with=${with:-without CRCs}
  # shellcheck disable=SC2086
  start server "$bin/qpip_rping_peer" serve "$nic&pcap=$work/recording$crc.pcap" - 7174 "$rounds" $crc
  server=$started
  # shellcheck disable=SC2086
  check "a socket asks, $with" inside timeout 60 "$bin/qpip_iwarp_peer" connect fd00::1 7174 "$rounds" $crc
  status_of "$server" 60
  [ "$status" -eq 0 ] || fail "the NIC's side, $with: $(cat "$work/server.out")"
done
check "tshark finds nothing wrong, and every CRC good" python3 -B "$(dirname "$0")/../protocols/iwarp_tshark.py" \
  "$work/recordingcrc.pcap"
for fault in bad_crc bad_stag long_send; do
  start server "$bin/qpip_rping_peer" serve "$nic" - 7174 1 crc sent_$fault
  server=$started
  check "$fault: the Terminate arrives" inside timeout 60 "$bin/qpip_iwarp_peer" connect fd00::1 7174 1 crc $fault
  status_of "$server" 60
  [ "$status" -eq 0 ] || fail "$fault: the NIC's side: $(cat "$work/server.out")"
done
finish
