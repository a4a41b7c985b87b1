# Runs one command in the sandbox and keeps what it leaves. The text is constant: every value is an
# argument. Written for any POSIX shell (dash, bash, busybox) on Linux.
#
#   serial limit whole cap work artifacts forge tmp over files most live addresses grace
#   NCHMOD path...          to be made executable
#   NCOLLECT word...        output NPARENT parent... argument of find...; or nothing
#   NPROGRAM (NWORD word...)...   NARGUMENT argument... NAME=VALUE...
#
# Leaves in $forge/run-$serial: stdout, stderr, notes, bundle, and at last status. Without any program
# only what is to be collected is packed. The candidate may do to these files, and to this shell, whatever
# it can do: nothing here waits for what it could have put there, and where this shell is killed, the next
# one that is started for the same serial says so, and does the rest.

serial=$1 limit=$2 whole=$3 cap=$4 work=$5 artifacts=$6 forge=$7 tmp=$8
shift 8
over=$1 files=$2 most=$3 live=$4 addresses=$5 grace=$6
shift 6
run=$forge/run-$serial
PATH=${PATH:-/usr/local/bin:/usr/bin:/bin}

# Whether a shell like this one is still there. One that was killed and is not yet buried has no command line.
lives() {
  kill -s 0 "${1:-none}" 2>/dev/null || return 1
  [ ! -r "/proc/$1/cmdline" ] || grep -qsF -e "$forge" "/proc/$1/cmdline"
}

# The request may have been replayed by a proxy on the way: the first one runs, the others wait for it.
# Where it has been killed, this one takes its place.
succeeds=
if ! mkdir "$run" 2>/dev/null; then
  patience=$((whole * 2 + 60))
  while [ ! -s "$run/status" ]; do
    number "$run/keeper"
    if ! lives "$word"; then
      # Between the folder and its first file there is a moment, and a long one on a busy machine.
      moments=50
      while [ -z "$word" ] && [ "$moments" -gt 0 ]; do
        nap 0.2
        number "$run/keeper"
        moments=$((moments - 1))
      done
      if [ ! -s "$run/status" ] && ! lives "$word"; then
        succeeds=1
        break
      fi
    fi
    if [ "$patience" -le 0 ]; then exit 0; fi
    nap 0.5
    patience=$((patience - 1))
  done
  [ "$succeeds" = 1 ] || exit 0
  mkdir -p "$run"
  rm -rf "$run/keeper"
fi
echo $$ >"$run/keeper"
# Room for what is to be said at the end, when the candidate has left none.
head -c 65536 /dev/zero >"$run/room"
cd "$work" 2>/dev/null || { mkdir -p "$work" && cd "$work"; } || exit 91

if command -v setsid >/dev/null 2>&1; then leader=setsid; else leader=; fi
# What is looked at while it grows must not wait in a buffer.
direct=
if [ "$live" = 1 ] && command -v stdbuf >/dev/null 2>&1; then direct='stdbuf -o0'; fi

# Ends what left the process group: it still has the environment that only commands of forge have.
sweep() {
  grep -lszFx -e "HOME=$work" /proc/[0-9]*/environ 2>/dev/null | while IFS= read -r file; do
    grep -qszFx -e "TMPDIR=$tmp" "$file" || continue
    grep -qsz -e '^DAYTONA_' "$file" && continue
    pid=${file#/proc/}
    pid=${pid%/environ}
    [ "$pid" = $$ ] || kill -s KILL "$pid" 2>/dev/null
  done
}

end_group() { kill -s KILL -- "-$1" 2>/dev/null || kill -s KILL "$1" 2>/dev/null; }

count=$1
shift
while [ "$count" -gt 0 ]; do
  chmod 755 "$1"
  shift
  count=$((count - 1))
done

end= code=0 took=0 reason=- checked=no

# How the command ended, by what it left, or else by the code of the shell in between.
judge() {
  if [ -e "$run/overdue" ]; then
    end=timedout
    sweep
    return
  fi
  number "$run/code"
  case $word in
    # The shell in between was ended together with its group; or nothing is left of what it wrote.
    '')
      end=exited
      if [ "$code" -gt 128 ]; then end=signalled code=$((code - 128)); fi
      ;;
    *)
      end=exited code=$word
      if [ -s "$run/died" ] && [ "$code" -gt 128 ]; then
        end=signalled code=$((code - 128))
      fi
      ;;
  esac
}

# In the place of a shell that was killed. Nobody but the candidate is there to have done it, and what did
# it may be running still.
succeed() {
  number "$run/main"
  if [ "${word:-0}" -gt 1 ]; then end_group "$word"; fi
  sweep
  number "$run/started"
  if [ -n "$word" ]; then
    now
    took=$((time - word))
  fi
  code=137
  judge
}

# What is to be collected is for later.
execute() {
  count=$1
  shift
  shift "$count"
  pick "$@"
}

launch() {
  mkfifo "$run/out" "$run/err" || exit 92
  { $direct head -c "$cap" >"$run/stdout"; wc -c >"$run/stdout.dropped"; } <"$run/out" &
  { $direct head -c "$cap" >"$run/stderr"; wc -c >"$run/stderr.dropped"; } <"$run/err" &
  now
  started=$time
  echo "$started" >"$run/started"
  # The shell in between says whether a signal ended the program, or it exited with such a number: in
  # the first case it complains. Its trap lets it outlive a TERM to the group.
  $leader /bin/sh -c '
    trap : TERM
    out=$1 err=$2 code=$3
    shift 3
    (exec env -i "$@" </dev/null >"$out" 2>"$err")
    ended=$?
    echo "$ended" >"$code"
    exit "$ended"
  ' forge "$run/out" "$run/err" "$run/code" \
    "PATH=$PATH" "HOME=$work" "LANG=C.UTF-8" "TMPDIR=$tmp" "$@" 2>"$run/died" &
  main=$!
  echo "$main" >"$run/main"
  $leader /bin/sh -c '
    sleep "$1" 2>/dev/null || sleep "$2"
    : >"$4/overdue"
    kill -s TERM -- "-$3" 2>/dev/null || kill -s TERM "$3"
    sleep 2
    kill -s KILL -- "-$3" 2>/dev/null || kill -s KILL "$3"
  ' forge "$limit" "$whole" "$main" "$run" 2>/dev/null &
  watch=$!
  wait "$main" 2>/dev/null
  code=$?
  now
  took=$((time - started))
  end_group "$watch"
  end_group "$main"
  # A setup must not answer later, nor a run after its end.
  sweep

  judge
  # Whoever still holds the pipes has left the group; they are not waited for.
  patience=0
  until [ -s "$run/stdout.dropped" ] && [ -s "$run/stderr.dropped" ]; do
    patience=$((patience + 1))
    if [ "$patience" = 100 ]; then sweep; fi
    if [ "$patience" = 200 ]; then break; fi
    nap 0.003
  done
  case $code in
    126 | 127)
      if [ "$end" = exited ]; then
        line=
        if [ -f "$run/stderr" ]; then IFS= read -r line <"$run/stderr"; fi
        case $line in
          'env: '*) end=cannotstart reason=${line#env: } ;;
        esac
      fi
      ;;
  esac
}

# Puts what is listed into one archive: that of tar, or, where there is none, one file behind the other,
# with the size of each in `notes`.
pack() {
  count=$1 total=$#
  shift
  while [ "$count" -gt 0 ]; do
    set -- "$@" "$1"
    shift
    count=$((count - 1))
  done
  shift $((total - 1 - wanted))
  gather "$@" || return
  if command -v tar >/dev/null 2>&1; then
    archive 2>/dev/null | head -c "$most" >"$run/bundle"
    bundle=packed
    return
  fi
  bundle=loose packed=0
  : >"$run/bundle"
  # The end of a note that was cut off.
  printf '\000' >>"$run/notes"
  while IFS= read -r file && [ "$packed" -lt "$most" ]; do
    if [ "$file" = "$near/notes" ] || [ -h "$file" ] || [ ! -f "$file" ]; then continue; fi
    size=$(head -c "$most" <"$file" | tee -a "$run/bundle" | wc -c)
    packed=$((packed + size))
    printf 'file %s %s\000' "$((size))" "$file" >>"$run/notes"
  done <"$run/list" 2>/dev/null
}

if [ "$succeeds" = 1 ]; then
  succeed
elif cut_off; then
  execute "$@"
else
  end=open
fi
# The candidate may have taken the folder away.
mkdir -p "$run"
rm -rf "$run/room"

bundle=none
wanted=$1
if [ "$wanted" -gt 0 ] || [ -s "$run/stdout" ] || [ -s "$run/stderr" ]; then
  pack "$@"
fi

number "$run/stdout.dropped"
dropped_out=${word:-0}
number "$run/stderr.dropped"
dropped_err=${word:-0}
rm -rf "$run/status" "$run/ready"
echo "forge-status $end $code $took $dropped_out $dropped_err $bundle $checked $reason" >"$run/ready"
mv -f "$run/ready" "$run/status"
