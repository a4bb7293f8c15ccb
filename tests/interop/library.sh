# Shared by the interop tests: a network namespace of each test's own, with the kernel's stack as
# the peer. Source it: `. library.sh BIN_DIR`. Needs root and /dev/net/tun; fails without.
. "$(dirname "$0")/../apps/library.sh" "$1"

namespace=qpip-$$
cleanup_work() { cleanup; }
cleanup_all() {
  cleanup_work
  ip netns del "$namespace" 2>/dev/null
}
trap cleanup_all EXIT

if ! ip netns add "$namespace" || ! ip -n "$namespace" link set lo up; then
  say "FAILED: no network namespace: run this test as root, with iproute2 installed"
  exit 1
fi

# inside COMMAND...: runs a command in the namespace.
inside() { ip netns exec "$namespace" "$@"; }

# json FILE EXPRESSION: evaluates a Python expression on the last JSON line of a file, as `r`.
json() {
  python3 -c '
import json, sys
r = json.loads(open(sys.argv[1]).read().splitlines()[-1])
sys.exit(0 if eval(sys.argv[2], {"r": r}) else "not so: %s" % r)' "$1" "$2"
}
