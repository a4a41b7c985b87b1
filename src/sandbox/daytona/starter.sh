# Starts the keeper ($0, the text of command.sh) in a session of its own, so that whatever ends this
# request does not end the command, and waits for it unless told not to. The last line printed is the status.
mode=$1 forge=$2 artifacts=$3 serial=$4
shift 4
mkdir -p "$forge" "$artifacts" || exit 90
if command -v setsid >/dev/null 2>&1; then leader=setsid; else leader=; fi
$leader /bin/sh -c "$0" forge "$@" </dev/null >/dev/null 2>&1 &
if [ "$mode" = detached ]; then exit 0; fi
wait $!
[ -s "$forge/run-$serial/status" ] || exit 93
IFS= read -r line <"$forge/run-$serial/status"
printf '\n%s\n' "$line"
