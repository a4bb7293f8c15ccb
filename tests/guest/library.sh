# Shared by the tests with a guest: the guest itself, and a namespace with a bridge that it is on. Source it:
# `. library.sh`, after `name` is set. Exits with 77 where there can be no guest. The guest is kept in QPIP_GUEST,
# ~/.cache/qpip-guest by default.
cache=${QPIP_GUEST:-${XDG_CACHE_HOME:-$HOME/.cache}/qpip-guest}

skip() { echo "$name: $*: skipped"; exit 77; }
[[ $(id -u) == 0 ]] || skip "not root"
command -v qemu-system-x86_64 >/dev/null || skip "there is no qemu-system-x86_64"
"$here/make_guest" "$cache"
case $? in
  0) ;;
  77) skip "no guest can be made" ;;
  *) exit 1 ;;
esac

space=qpip-$name-$$
work=$(mktemp -d)
trap 'for one in $(ip netns pids "$space" 2>/dev/null); do kill "$one"; done; ip netns del "$space" 2>/dev/null; rm -rf "$work"' EXIT
ip netns add "$space" || skip "no network namespaces"
inside() { ip netns exec "$space" "$@"; }
inside ip link set lo up
inside ip tuntap add tap0 mode tap || skip "no tap devices"
inside sysctl -qw net.ipv6.conf.tap0.accept_dad=0
inside ip link set tap0 up

failed=0
explained=
# result WHAT STATUS GUEST_STATUS: says whether both went well. Its kernel's log must be clean: nothing of siw's but that
# it is no part of Debian's kernel, and what $explained, an extended regular expression, says of a fault.
result() {
  local log
  log=$(grep -aE '^guest-log: .*(siw|WARNING|BUG|Oops)' "$work/guest" |
    grep -avE "taints kernel|module verification failed${explained:+|$explained}")
  if [[ $2 == 0 && $3 == 0 && -z $log ]]; then
    echo "ok: $1: $(tr '\n' ' ' <"$work/peer")"
  else
    echo "FAILED: $1: peer $2, guest $3"
    sed 's/^/  peer: /' "$work/peer"
    sed 's/^/  guest: /' "$work/guest" | tail -n 30
    failed=1
  fi
}
