# The first process of a container: does what forge says on standard input, ends everything that a command has
# left, and ends itself when forge is gone or the sandbox's time is over. Follows parts.sh. Constant text; the
# arguments are
#
#   home lifetime kept      lifetime in seconds, since the start and since every `end`; kept: 1 for a sandbox that may
#                           outlive forge
#
# The kernel shields the first process of a container from every signal of its own people that it has not asked
# for. It never forks while a command may have taken all processes that there may be: a shell that cannot fork
# ends. One message at a time; each is answered by lines that begin with its token:
#
#   do TOKEN BYTES          a text follows, for a shell with all these functions: `taken`, then what the text says
#   unpack TOKEN BYTES      an archive follows, for the home: `unpacked CODE`
#   term TOKEN              asks every process to end; no answer
#   end TOKEN               ends every process: TOKEN on both streams, with what there is to tell
#
# `gone` says that the shell of a text has been killed.

home=$1 lifetime=$2 kept=$3
work=$home/work forge=$home/forge artifacts=$home/forge/artifacts tmp=$home/tmp
PATH=${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}
control=/sys/fs/cgroup
main= timer= token=forge-keeper text=
# What a signal does not interrupt looks up now and then.
patience=
if [ -n "${BASH_VERSION:-}" ]; then patience='-t 1'; fi

say() { printf '\n%s %s\n' "$token" "$*"; }

# Seconds of a clock that nobody in here can set.
uptime() { IFS=. read -r seconds rest </proc/uptime; }

wind() {
  uptime
  if [ "$seconds" -ge "$expires" ]; then exit 0; fi
  (exec sleep $((expires - seconds))) </dev/null >/dev/null 2>&1 &
  timer=$!
}

# Runs whenever a process has ended. `jobs` buries whatever has.
hear() {
  heard=1
  jobs >/dev/null 2>&1
  if [ -n "$main" ] && ! kill -s 0 "$main" 2>/dev/null; then
    main=
    say gone
  fi
  uptime
  if [ "$seconds" -ge "$expires" ]; then exit 0; fi
  # Somebody has stopped the clock. It is wound again where there is room for it.
  if [ -n "$timer" ] && ! kill -s 0 "$timer" 2>/dev/null && has_room; then wind; fi
}

# Whether a process more can be started for certain. `known` says whether that is known at all.
has_room() {
  known=
  for place in "$control/pids" "$control"; do
    number "$place/pids.current"
    current=$word
    if [ -z "$current" ]; then continue; fi
    known=1
    number "$place/pids.max"
    # No number is no limit.
    [ -z "$word" ] || [ $((current + 4)) -lt "$word" ]
    return
  done
  return 1
}

# The number behind a name in a file of the kernel's.
counter() {
  found=0
  if [ ! -r "$1" ]; then return; fi
  while read -r name value rest; do
    if [ "$name" = "$2" ]; then found=$value; fi
  done <"$1"
}

# What the kernel has counted: killed for memory, refused as a process, and processor time in microseconds.
count_up() {
  if [ -e "$control/cgroup.controllers" ]; then
    counter "$control/memory.events" oom_kill
    killed=$found
    counter "$control/pids.events" max
    refused=$found
    counter "$control/cpu.stat" usage_usec
    spent=$found
    return
  fi
  counter "$control/memory/memory.oom_control" oom_kill
  killed=$found
  counter "$control/pids/pids.events" max
  refused=$found
  number "$control/cpuacct/cpuacct.usage"
  spent=$((${word:-0} / 1000))
}

# The room that is left in the home, in KiB.
measure() {
  free=-
  exists df || return
  df -Pk "$home" 2>/dev/null | {
    read -r rest
    read -r device blocks used free rest
    echo "${free:--}"
  }
}

finish() {
  # The clock ends as well, and is not wound before all is over.
  main= timer=
  looks=20000
  while :; do
    kill -s KILL -- -1 2>/dev/null
    jobs >/dev/null 2>&1
    set -- /proc/[0-9]*
    if [ "$#" -le 1 ] || [ "$looks" = 0 ]; then break; fi
    looks=$((looks - 1))
  done
  left=$(($# - 1))
  # What has ended is counted for a moment longer, on a busy machine for a long one, and a shell that cannot fork ends.
  uptime
  patient=$((seconds + 20))
  until has_room || [ -z "$known" ]; do
    uptime
    if [ "$seconds" -ge "$patient" ]; then
      left=1
      break
    fi
  done
  count_up
  if [ "$left" = 0 ]; then
    # Forge is there, and may need as long again for what comes next.
    uptime
    expires=$((seconds + lifetime))
    wind
    free=$(measure)
  else
    free=-
  fi
  printf '\n%s\n' "$token" >&2
  say "left $left $killed $refused $spent ${free:--}"
}

# When memory runs out: the command, then who tells how it ended, and never the first process, with which all ends. The
# kernel may look for a second victim before the first one's memory is back, and then it is not the largest that is left.
goes_first() { echo "$1" >/proc/self/oom_score_adj; } 2>/dev/null

# In a shell of its own: runs a command, and says how it ended.
#   serial addresses grace, then the words of `pick`
perform() {
  run=$forge/run-$1 addresses=$2 grace=$3
  shift 3
  end= code=0 took=0 reason=- checked=no
  if ! { mkdir -p "$run" && : >"$run/keeper" && cd "$work"; } 2>/dev/null; then
    end=nowhere
  elif cut_off; then
    pick "$@"
  else
    end=open
  fi
  say "ended $end $code $took $checked $reason"
}

# NAME=VALUE... word...: no value of a variable is ever an argument of a process, which all users of the machine see.
launch() {
  exists env
  say started
  now
  started=$time
  # The shell in between says whether a signal ended the program, or it exited with such a number: in the first
  # case it complains. Its trap lets it outlive a TERM to all.
  (
    trap : TERM
    # As `sh`, bash does not complain.
    if [ -n "${BASH_VERSION:-}" ]; then set +o posix; fi
    (become "${folder:-.}/env" "PATH=$PATH" "HOME=$work" "LANG=C.UTF-8" "TMPDIR=$tmp" "$@")
    exit $?
  ) </dev/null 3>&2 2>"$run/died"
  code=$?
  now
  took=$((time - started)) end=exited
  if [ "$code" -gt 128 ] && [ -s "$run/died" ]; then end=signalled code=$((code - 128)); fi
}

# In a shell of its own: becomes the program, with these variables and no others.
#   env NAME=VALUE... word...
become() {
  env=$1
  shift
  goes_first 1000
  IFS='
'
  set -f
  # Lines that go on with a value name nothing that there is.
  for line in $("$env"); do
    case ${line%%=*} in
      '' | [0-9]* | *[!A-Za-z0-9_]* | BASH* | SHELLOPTS | UID | EUID | PPID) ;;
      *) unset "${line%%=*}" ;;
    esac
  done
  asked=
  while :; do
    case ${1:-} in
      *=*) ;;
      *) break ;;
    esac
    asked="$asked ${1%%=*} "
    export "$1"
    shift
  done
  # What shells add by themselves.
  set -- -- "$@"
  for name in PWD OLDPWD SHLVL _; do
    case $asked in
      *" $name "*) ;;
      *) set -- -u "$name" "$@" ;;
    esac
  done
  exec "$env" "$@" 2>&3 3>&-
}

# In a shell of its own: packs what is wanted, onto standard output.
#   serial over files most, then the words of `list`
pack() {
  run=$forge/run-$1 over=$2 files=$3 most=$4
  shift 4
  wanted=$#
  rm -rf "$forge/room"
  if gather "$@" 2>/dev/null; then
    archive 2>/dev/null | head -c "$most"
    say packed
  else
    say nothing
  fi
}

take() {
  text=$(
    head -c "$1"
    echo .
  )
  text=${text%.}
  say taken
}

begin() {
  (
    trap - CHLD
    goes_first 500
    eval "$text"
  ) </dev/null &
  main=$!
}

unpack() {
  said=$(
    head -c "$1" | {
      tar -xmof - -C "$home" 2>&1
      code=$?
      # What follows would be taken for messages.
      cat >/dev/null
      echo "$code"
    }
  )
  code=${said##*
}
  said=${said%"$code"}
  set -f
  # One line of it.
  # shellcheck disable=SC2086
  set -- $said
  set +f
  say "unpacked $code $*"
}

missing=
for tool in cat chmod date env find head ln mkdir rm sleep sort tar wc; do
  if ! exists "$tool"; then missing="$missing $tool"; fi
done
if ! mkdir -p "$work" "$artifacts" "$tmp" 2>/dev/null; then missing="$missing home"; fi
# Room for what is to be said of files at the end, when a candidate has left none.
head -c 65536 /dev/zero >"$forge/room" 2>/dev/null
uptime
expires=$((seconds + lifetime))
if [ -z "$missing" ]; then wind; fi
trap hear CHLD
say "ready$missing"

while :; do
  heard=
  # shellcheck disable=SC2086
  if IFS= read $patience -r line; then
    # shellcheck disable=SC2086
    set -- $line
    case $1 in
      term) ;;
      *) token=$2 ;;
    esac
    case $1 in
      do)
        take "$3"
        begin
        ;;
      now)
        take "$3"
        (eval "$text") </dev/null
        ;;
      unpack) unpack "$3" ;;
      term) kill -s TERM -- -1 2>/dev/null ;;
      end) finish ;;
    esac
  elif [ $? -gt 128 ]; then
    hear
  elif [ -z "$heard" ]; then
    break
  fi
done
if [ "$kept" != 1 ]; then exit 0; fi
# Forge is gone: what still runs may go on, until the time is over.
while :; do
  uptime
  if [ "$seconds" -ge "$expires" ]; then exit 0; fi
  nap 1
done
