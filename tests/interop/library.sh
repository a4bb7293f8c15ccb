# Shared by the interop tests: a network namespace of each test's own, with the kernel's stack as
# the peer. Source it: `. library.sh BIN_DIR`. Needs root and /dev/net/tun; fails without.
. "$(dirname "$0")/../apps/library.sh" "$1"

# A process holds the namespace, rather than a name in /run/netns: that takes no mount, so it works
# in a chroot as well, and nothing is left behind whatever happens.
unshare --net sleep infinity &
holder=$!
cleanup_all() {
  kill "$holder" 2>/dev/null
  cleanup
}
trap cleanup_all EXIT
namespace=/proc/$holder/ns/net

# inside COMMAND...: runs a command in the namespace.
inside() { nsenter --net="$namespace" -- "$@"; }

ours=$(readlink /proc/self/ns/net)
tries=0
while [ "$(readlink "$namespace")" = "$ours" ] && [ $tries -lt 500 ]; do
  tries=$((tries + 1))
  sleep 0.01
done
if [ "$(readlink "$namespace")" = "$ours" ] || ! inside ip link set lo up; then
  say "FAILED: no network namespace: run this test as root, with iproute2 installed"
  exit 1
fi

# json FILE EXPRESSION: evaluates a Python expression on the last JSON line of a file, as `r`.
json() {
  python3 -c '
import json, sys
r = json.loads(open(sys.argv[1]).read().splitlines()[-1])
sys.exit(0 if eval(sys.argv[2], {"r": r}) else "not so: %s" % r)' "$1" "$2"
}
