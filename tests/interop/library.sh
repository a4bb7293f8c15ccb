# Shared by the interop tests: a network namespace of each test's own, with the kernel's stack as
# the peer. Source it: `. library.sh BIN_DIR`. Needs root and /dev/net/tun; fails without.
. "$(dirname "$0")/../apps/library.sh" "$1"

# A process holds the namespace, rather than a name in /run/netns: that takes no mount, so it works
# in a chroot as well, and nothing is left behind whatever happens.
holders=""
cleanup_all() {
  for holder in $holders; do kill "$holder" 2>/dev/null; done
  cleanup
}
trap cleanup_all EXIT

# make_namespace: a new network namespace with its loopback up; sets $namespace to its path.
make_namespace() {
  unshare --net sleep infinity &
  holders="$holders $!"
  namespace=/proc/$!/ns/net
  ours=$(readlink /proc/self/ns/net)
  tries=0
  while [ "$(readlink "$namespace")" = "$ours" ] && [ $tries -lt 500 ]; do
    tries=$((tries + 1))
    sleep 0.01
  done
  if [ "$(readlink "$namespace")" = "$ours" ] || ! within "$namespace" ip link set lo up; then
    say "FAILED: no network namespace: run this test as root, with iproute2 installed"
    exit 1
  fi
}
# within NAMESPACE COMMAND...: runs a command in a namespace; inside COMMAND...: in the first one.
within() {
  where=$1
  shift
  nsenter --net="$where" -- "$@"
}
make_namespace
first_namespace=$namespace
inside() { nsenter --net="$first_namespace" -- "$@"; }

# json FILE EXPRESSION: evaluates a Python expression on the last JSON line of a file, as `r`.
json() {
  python3 -c '
import json, sys
r = json.loads(open(sys.argv[1]).read().splitlines()[-1])
sys.exit(0 if eval(sys.argv[2], {"r": r}) else "not so: %s" % r)' "$1" "$2"
}
