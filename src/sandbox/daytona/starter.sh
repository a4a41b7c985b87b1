# Starts the keeper ($0, the text of command.sh) in a session of its own, so that whatever ends this
# request does not end the command, and waits: to its end, or for so many seconds. The last line printed
# is the status, if it has come to that.
window=$1 forge=$2 artifacts=$3 serial=$4
shift 4
mkdir -p "$forge" "$artifacts" || exit 90
if command -v setsid >/dev/null 2>&1; then leader=setsid; else leader=; fi
status=$forge/run-$serial/status
start() {
  $leader /bin/sh -c "$keep" forge "$@" </dev/null >/dev/null 2>&1 &
  keeper=$!
}
keep=$0
start "$@"
watch=
case $window in
  end) ;;
  0) exit 0 ;;
  *)
    trap 'exit 0' USR1
    $leader /bin/sh -c 'sleep "$1"; kill -s USR1 "$2"' forge "$window" $$ </dev/null >/dev/null 2>&1 &
    watch=$!
    ;;
esac
wait "$keeper"
ended=$?
if [ ! -s "$status" ] && [ "$ended" -gt 128 ]; then
  # The candidate has killed it. The next one says so, and does the rest.
  start "$@"
  wait "$keeper"
  ended=$?
fi
if [ -n "$watch" ]; then
  kill -s KILL -- "-$watch" 2>/dev/null || kill -s KILL "$watch" 2>/dev/null
fi
if [ ! -f "$status" ]; then
  # Who was killed: 93. What was not even begun has a number of its own.
  case $ended in
    91 | 92) exit "$ended" ;;
  esac
  if [ "$ended" -gt 128 ]; then exit 93; fi
  exit 94
fi
IFS= read -r line <"$status"
printf '\n%s\n' "$line"
