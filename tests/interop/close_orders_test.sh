#!/bin/sh
# 500 connections with the kernel's sockets, opened from both ends and closed in every order there is:
# half-closes, both at once, resets. Once as fast as it goes; once with all that QPIP sends on its way
# for 5 ms, so that what both ends do at a time crosses, and recorded.
# Usage: close_orders_test.sh BIN_DIR [COUNT], COUNT a multiple of 20
. "$(dirname "$0")/library.sh" "$1"
count=${2:-500}
[ $((count % 20)) -eq 0 ] && [ "$count" -le 23000 ] || {
  say "FAILED: COUNT is $count, must be a multiple of 20, 23000 at most"
  exit 2
}
each=$((count / 10)) # connections of every order, see close_orders.cc
here=$(dirname "$0")

# between WHAT LEAST VALUE MOST
between() {
  [ "$2" -le "$3" ] && [ "$3" -le "$4" ] && say "ok: $1: $2 <= $3 <= $4" ||
    fail "$1: $3, not between $2 and $4"
}

# The segments of a connection that is reset which may be on their way, what is posted and the answers
# to what comes: each may be answered with RST. A post sends, however far the kernel's end has come.
in_flight=30

# connections LABEL QUERY: all of them.
connections() {
  make_namespace
  # Room for what is sent to QPIP while it does not run: the device loses nothing.
  within "$namespace" sh -c "ip tuntap add dev qpip0 mode tun vnet_hdr &&
    ip link set qpip0 txqueuelen 10000" || fail "$1: no TUN device"
  start peer within "$namespace" python3 "$here/close_orders.py" "$work/control" fd00::1 "$count"
  peer=$started
  check "$1: QPIP's end of $count connections" sh -c "timeout 100 '$bin/qpip-test-close-orders' \
    'tun:qpip0?address=fd00::1&host=fd00::2/64&netns=$namespace$2' fd00::2 '$work/control' '$count' \
    >'$work/orders.out'"
  status_of "$peer" 100
  [ "$status" -eq 0 ] || fail "$1: the kernel's end: $(cat "$work/peer.out" "$work/peer.err")"
  [ -s "$work/orders.out" ] || finish

  check "$1: QPIP's resets are explained" json "$work/orders.out" \
    "r['connections_reset'] == 4 * $each and \
     0 <= r['tcp_resets_sent'] - $each <= r.get('drop.no_tcp_connection', 0)"
  # Out of the window: what the kernel sends again, and its RSTs when a newer one came first. And what a
  # client says that has come back with a cookie and waits for a queue pair, or says behind text that was
  # lost so, or that QPIP's wire has crowded out: it says it again.
  check "$1: QPIP's drops are explained" json "$work/orders.out" \
    "all(n in ('drop.not_our_address', 'drop.no_tcp_connection', 'drop.tcp_unacceptable') \
             or n == 'drop.backlog_full' and r.get('peers_put_off', 0) > 0 \
             or n == 'drop.tcp_out_of_order' and r.get('peers_put_off', 0) + r['crowded_out'] > 0 \
         for n in r if n.startswith('drop.'))"
  resets=$(sed -n 's/.*"tcp_resets_sent": \([0-9]*\).*/\1/p' "$work/orders.out")

  tries=0
  while within "$namespace" ss -Htan | grep -v '^TIME-WAIT' >"$work/open" && [ $tries -lt 1000 ]; do
    tries=$((tries + 1))
    sleep 0.01
  done
  [ -s "$work/open" ] && fail "$1: the kernel has connections: $(cat "$work/open")"
  # Whoever closes first, or with the other, is in TIME-WAIT. An RST of ours that answers a stray
  # segment may end that.
  between "$1: the kernel's connections in TIME-WAIT" $((3 * each - resets)) \
    "$(within "$namespace" ss -Htan | wc -l)" $((3 * each))
  # By RST from ESTABLISHED: aborted by either end, closed with unread bytes, perhaps midway.
  between "$1: TcpEstabResets" $((3 * each)) "$(counter "$namespace" TcpEstabResets)" $((4 * each))
  between "$1: TcpOutRsts" $((4 * each)) "$(counter "$namespace" TcpOutRsts)" $((4 * each * in_flight))
  between "$1: TcpExtTCPChallengeACK" 0 "$(counter "$namespace" TcpExtTCPChallengeACK)" 20
  between "$1: TcpExtTCPOFOQueue" 0 "$(counter "$namespace" TcpExtTCPOFOQueue)" 0
  between "$1: TcpInCsumErrors" 0 "$(counter "$namespace" TcpInCsumErrors)" 0
  say "QPIP's: $(cat "$work/orders.out")"
  say "the kernel's: $(all_counters "$namespace")"
}
connections "at once" ""
connections "crossing" "&delay_us=5000&pcap=$work/orders.pcap"
# Without the probes at the end, which belong to no connection.
sound "crossing" "$work/orders.pcap" "$explained|Connection reset \(RST\)" "!(tcp.seq_raw == 1)"
finish
