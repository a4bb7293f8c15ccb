# Shared by the shell tests of the commands. Source it: `. library.sh BIN_DIR`.
#
# Every test has a directory and a fabric of its own, and ends only the processes it started.

bin=$1
work=$(mktemp -d "${TMPDIR:-/tmp}/qpip-apps.XXXXXX")
fabric="shm:apps-$$"
pids=""
failures=0

# What was started by a function of the shell runs in a child of the process that `start` knows.
cleanup() {
  for pid in $pids; do
    # shellcheck disable=SC2046
    kill -KILL "$pid" $(cat "/proc/$pid/task/$pid/children" 2>/dev/null) 2>/dev/null
  done
  wait 2>/dev/null
  rm -rf "$work"
  rm -rf "/dev/shm/qpip.$(id -u).apps-$$"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

say() { printf '%s\n' "$*"; }
fail() {
  failures=$((failures + 1))
  say "FAILED: $*"
}
# check WHAT COMMAND...: runs the command, which must succeed.
check() {
  what=$1
  shift
  if "$@" >"$work/check.out" 2>&1; then
    say "ok: $what"
  else
    fail "$what: '$*' gave $?: $(head -c 600 "$work/check.out")"
  fi
}
finish() {
  [ "$failures" -eq 0 ] || { say "$failures failed"; exit 1; }
  say "all passed"
  exit 0
}

# start NAME COMMAND...: runs a command in the background, output in $work/NAME.out and .err, and
# waits until its first line of output, which servers print when they are ready. Sets $started.
start() {
  name=$1
  shift
  : >"$work/$name.out"
  "$@" >"$work/$name.out" 2>"$work/$name.err" &
  started=$!
  pids="$pids $started"
  tries=0
  while ! [ -s "$work/$name.out" ]; do
    if ! kill -0 "$started" 2>/dev/null || [ "$tries" -ge 1000 ]; then
      fail "$name did not get ready: $(cat "$work/$name.err")"
      return 1
    fi
    tries=$((tries + 1))
    sleep 0.01
  done
}

# status_of PID SECONDS: waits for a process that `start` began to end and sets $status; 124 when
# it does not end in time.
status_of() {
  tries=0
  while kill -0 "$1" 2>/dev/null; do
    if [ "$tries" -ge $(($2 * 50)) ]; then
      status=124
      return
    fi
    tries=$((tries + 1))
    sleep 0.02
  done
  wait "$1"
  status=$?
}

# stop PID: ends a server by SIGTERM; it must exit with status 0.
stop() {
  kill -TERM "$1" 2>/dev/null
  status_of "$1" 15
  [ "$status" -eq 0 ] || fail "process $1 ended with status $status after SIGTERM"
}
