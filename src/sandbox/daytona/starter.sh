# Starts the keeper ($0, the text of command.sh) in a session of its own, so that whatever ends this
# request does not end the command, and waits: to its end, or for so many seconds. The last line printed
# is the status, if it has come to that.
window=$1 forge=$2 artifacts=$3 serial=$4
shift 4
mkdir -p "$forge" "$artifacts" || exit 90
if command -v setsid >/dev/null 2>&1; then leader=setsid; else leader=; fi
$leader /bin/sh -c "$0" forge "$@" </dev/null >/dev/null 2>&1 &
keeper=$!
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
if [ -n "$watch" ]; then
  kill -s KILL -- "-$watch" 2>/dev/null || kill -s KILL "$watch" 2>/dev/null
fi
[ -s "$forge/run-$serial/status" ] || exit 93
IFS= read -r line <"$forge/run-$serial/status"
printf '\n%s\n' "$line"
