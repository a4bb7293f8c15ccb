#!/usr/bin/env bash
# The Debian packages in a bare system of this release: installed, used, removed without a trace.
#   packages_test.sh BUILD_DIR SOURCE_DIR
# Needs root, debootstrap and the distribution's mirror; exit status 77 without them. The bare system
# stays in $QPIP_SYSTEMS (/var/tmp/qpip-systems), as that of tools/on.
set -euo pipefail
build=$1 source=$2
not_run() { echo "not run: $*"; exit 77; }
fail() { echo "FAILED: $*" >&2; exit 1; }

[[ $(id -u) == 0 ]] || not_run "this is not root"
command -v debootstrap >/dev/null || not_run "there is no debootstrap"
release=$(. /etc/os-release && echo "$VERSION_CODENAME")
systems=${QPIP_SYSTEMS:-/var/tmp/qpip-systems}
bare=$systems/$release.bare
if [[ ! -e $bare/.complete ]]; then
  mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
    grep -ohE 'https?://[^ ]*/debian/?( |$)' | tr -d ' ' | head -n 1 || true)
  rm -rf --one-file-system "$bare"
  mkdir -p "$systems"
  debootstrap --variant=minbase "$release" "$bare" "${mirror:-http://deb.debian.org/debian}" >"$bare.log" 2>&1 ||
    not_run "debootstrap failed: $bare.log"
  touch "$bare/.complete"
fi
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
cpack --config "$build/CPackConfig.cmake" -B "$work/packages" >"$work/cpack.log" 2>&1 ||
  fail "cpack: $(tail -n 3 "$work/cpack.log")"
tree=$work/system
cp -a "$bare" "$tree"
mkdir "$tree/packages"
cp "$work"/packages/*.deb "$tree/packages/"
cp "$source/examples/hello.cc" "$tree/packages/"
cp -L /etc/resolv.conf "$tree/etc/resolv.conf"
cp /etc/apt/apt.conf.d/*proxy* "$tree/etc/apt/apt.conf.d/" 2>/dev/null || true
cat >"$tree/packages/try.sh" <<'TRY'
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
cd /packages
listed() { find /usr /etc -xdev ! -path '/usr/share/doc/*' | sort; }
apt-get update -q >/dev/null
# What the packages depend on, and what the checks need, is there before they are.
depends=$(for package in *.deb; do dpkg-deb -f "$package" Depends; done | tr ',' '\n' |
  sed 's/(.*//; s/ //g' | grep -v '^qpip' | sort -u)
# shellcheck disable=SC2086
apt-get install -q -y --no-install-recommends $depends man-db groff-base g++ cmake ninja-build pkg-config >/dev/null
# A minimal system leaves manual pages and documents out.
rm -f /etc/dpkg/dpkg.cfg.d/*docker* /etc/dpkg/dpkg.cfg.d/excludes
listed >/tmp/before
apt-get install -q -y --no-install-recommends ./*.deb >/dev/null
echo "installed: $(dpkg-query -W -f '${Package} ' 'qpip*' 'libqpip*')"

version=$(qpip-ping --version)
[[ $version == "qpip-ping (QPIP) "* ]] || { echo "qpip-ping --version says: $version"; exit 1; }
for page in qpip-ping qpip-ttcp qpip-nbd-server qpip-nbd-client qpip-run qpip-sim qpip-sim-sweep; do
  man -P cat "$page" >"/tmp/$page.txt" 2>/tmp/man.err || { cat /tmp/man.err; exit 1; }
  grep -q NAME "/tmp/$page.txt"
done
qpip-ping -s --nic shm:packages >/tmp/server &
server=$!
until grep -q listening /tmp/server; do kill -0 $server; done
qpip-ping --nic shm:packages -n 100 fd00::1
kill $server
wait $server
qpip-sim run ttcp bytes=1M >/tmp/sim 2>/dev/null
grep bottleneck /tmp/sim
grep -q "Redistribution" /usr/share/doc/qpip/copyright

# A program against -dev, by each of the two ways.
g++ -std=c++20 hello.cc -o hello-pkg-config $(pkg-config --cflags --libs qpip)
ldd hello-pkg-config >/tmp/needs
grep -q 'libqpip.so.0.1 => /' /tmp/needs || { cat /tmp/needs; exit 1; }
g++ -std=c++20 hello.cc -o hello-archive $(pkg-config --cflags --libs --static qpip | sed 's/-lqpip/-l:libqpip.a/')
ldd hello-archive >/tmp/needs
if grep libqpip /tmp/needs; then exit 1; fi
mkdir project
cat >project/CMakeLists.txt <<'CMAKE'
cmake_minimum_required(VERSION 3.25)
project(hello CXX)
set(CMAKE_CXX_STANDARD 20)
find_package(QPIP REQUIRED)
add_executable(hello ../hello.cc)
target_link_libraries(hello PRIVATE QPIP::qpip)
CMAKE
cmake -G Ninja -S project -B project/build >/dev/null
cmake --build project/build >/dev/null
./hello-pkg-config
./hello-archive
project/build/hello

# Completion, where bash-completion would load it.
. /usr/share/bash-completion/completions/qpip-ping
COMP_WORDS=(qpip-ping --vers) COMP_CWORD=1
_qpip
[[ ${COMPREPLY[*]} == --version ]] || { echo "completion gives: ${COMPREPLY[*]}"; exit 1; }

dpkg --purge qpip-ns3 qpip-doc libqpip-dev qpip >/dev/null
listed >/tmp/after
# man-db's index and what ran before are not the packages'.
diff <(grep -v __pycache__ /tmp/before) <(grep -v __pycache__ /tmp/after) || { echo "left behind, see above"; exit 1; }
find / -xdev -name '*qpip*' ! -path '/packages/*' ! -path '/tmp/*' ! -path '/proc/*' ! -path '/dev/*' \
  ! -path '/var/log/*' ! -path '/var/cache/apt/*' ! -path '/var/cache/man/*' >/tmp/rest
[[ ! -s /tmp/rest ]] || { cat /tmp/rest; exit 1; }
echo "all passed"
TRY
unshare --mount --pid --fork --propagation private bash -c '
  set -e
  cd "$1"
  mount --rbind /dev dev
  mount -t proc proc proc
  mount --rbind /sys sys
  exec env -i HOME=/root LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    chroot . bash /packages/try.sh' on "$tree"
