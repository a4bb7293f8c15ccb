# Shared by the tests of attacks: servers, and the namespace that clients and attackers are in. Source it:
# `. library.sh BIN_DIR`.
. "$(dirname "$0")/../interop/library.sh" "$1"
attack=$bin/qpip-attack
clients=$first_namespace
within "$clients" sysctl -qw net.ipv4.tcp_tw_reuse=1 net.ipv4.ip_local_port_range="1024 65000"
kernel_link=02:00:00:00:01:01
qpip_link=02:00:00:00:00:01

link_of() { within "$clients" ip -o link show dev "$1" | sed 's/.*link.ether \([^ ]*\).*/\1/'; }

# await_answer ADDRESS: whose server has said that it is ready. An attack on the control leaves the kernel's
# table of neighbours full, which all namespaces share: for some seconds nobody new gets an entry.
await_answer() {
  tries=0
  until within "$clients" ping -6 -c 1 -W 1 "$1" >"$work/ping" 2>&1; do
    tries=$((tries + 1))
    [ $tries -lt 30 ] || { fail "no answer: $(cat "$work/ping")"; return 1; }
  done
}

# serve_kernel: the control, the kernel's sockets in a new namespace at fd01::1, behind a pair of devices
# whose other end is the clients' veth0. Strangers (fd66::/16) are behind the clients' host.
serve_kernel() {
  make_namespace
  pid=${namespace#/proc/}
  within "$clients" ip link del veth0 2>/dev/null
  within "$clients" ip link add veth0 address 02:00:00:00:01:02 type veth peer name veth1 \
    address "$kernel_link" netns "${pid%%/*}"
  within "$clients" ip addr add fd01::2/64 dev veth0 nodad
  within "$clients" ip link set veth0 up
  within "$namespace" ip addr add fd01::1/64 dev veth1 nodad
  within "$namespace" ip link set veth1 up
  within "$namespace" ip route add default via fd01::2
  start server nsenter --net="$namespace" -- "$attack" serve-kernel 64 || return 1
  await_answer fd01::1
}

# serve_qpip OFFERED MOST: queue pairs at fd00::1, behind the clients' qpip0.
serve_qpip() {
  start server "$attack" serve-qpip "tap:qpip0?address=fd00::1&mac=$qpip_link&host=fd00::2/64\
&netns=$clients&dad=0&route=fd66::/16@fd00::2" "$1" "$2" || return 1
  await_answer fd00::1
}
