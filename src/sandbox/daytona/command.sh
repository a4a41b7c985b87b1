# Runs one command in the sandbox and keeps what it leaves. The text is constant: every value is an
# argument. Written for any POSIX shell (dash, bash, busybox) on Linux.
#
#   serial limit whole cap work artifacts forge tmp over files most live
#   NCHMOD path...          to be made executable
#   NCOLLECT word...        output NPARENT parent... argument of find...; or nothing
#   NPROGRAM (NWORD word...)...   NARGUMENT argument... NAME=VALUE...
#
# Leaves in $forge/run-$serial: stdout, stderr, notes, bundle, and at last status. Without any program
# only what is to be collected is packed.

serial=$1 limit=$2 whole=$3 cap=$4 work=$5 artifacts=$6 forge=$7 tmp=$8
shift 8
over=$1 files=$2 most=$3 live=$4
shift 4
run=$forge/run-$serial
PATH=${PATH:-/usr/local/bin:/usr/bin:/bin}

nap() { sleep "$1" 2>/dev/null || sleep 1; }

# The request may have been replayed by a proxy on the way: the first one runs, the others wait for it.
if ! mkdir "$run" 2>/dev/null; then
  patience=$((whole + 30))
  while [ ! -s "$run/status" ] && [ "$patience" -gt 0 ]; do
    sleep 1
    patience=$((patience - 1))
  done
  exit 0
fi
cd "$work" || exit 91

if command -v setsid >/dev/null 2>&1; then leader=setsid; else leader=; fi
# What is looked at while it grows must not wait in a buffer.
direct=
if [ "$live" = 1 ] && command -v stdbuf >/dev/null 2>&1; then direct='stdbuf -o0'; fi

now() {
  time=$(date +%s%N)
  case $time in
    '' | *[!0-9]*) time=$(date +%s)000000000 ;;
  esac
}

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

# Whether a program exists, by the rules of execvp; a builtin of the shell is not a program.
exists() {
  case $1 in
    */*)
      [ -e "$1" ]
      return
      ;;
  esac
  rest=$PATH:
  while [ -n "$rest" ]; do
    folder=${rest%%:*}
    rest=${rest#*:}
    if [ -f "${folder:-.}/$1" ] && [ -x "${folder:-.}/$1" ]; then return 0; fi
  done
  return 1
}

end= code=0 took=0 reason=-

execute() {
  count=$1
  shift
  shift "$count"
  # The words of the first program that exists go to the end of the list, those of the others away.
  count=$1 found=0
  shift
  while [ "$count" -gt 0 ]; do
    words=$1 keep=0
    shift
    if [ "$found" = 0 ] && exists "$1"; then
      found=1 keep=1 program=$1
    fi
    while [ "$words" -gt 0 ]; do
      if [ "$keep" = 1 ]; then set -- "$@" "$1"; fi
      shift
      words=$((words - 1))
    done
    count=$((count - 1))
  done
  if [ "$found" = 0 ]; then
    end=notfound
    return
  fi
  case $program in
    */*)
      if [ -d "$program" ] || [ ! -x "$program" ]; then
        end=cannotstart reason='it is not an executable file'
        return
      fi
      ;;
  esac
  # Now: NARGUMENT argument... NAME=VALUE... word...; the arguments go behind the words.
  count=$1
  shift
  while [ "$count" -gt 0 ]; do
    set -- "$@" "$1"
    shift
    count=$((count - 1))
  done

  mkfifo "$run/out" "$run/err" || exit 92
  { $direct head -c "$cap" >"$run/stdout"; wc -c >"$run/stdout.dropped"; } <"$run/out" &
  { $direct head -c "$cap" >"$run/stderr"; wc -c >"$run/stderr.dropped"; } <"$run/err" &
  now
  started=$time
  # The shell in between says whether a signal ended the program, or it exited with such a number: in
  # the first case it complains. Its trap lets it outlive a TERM to the group.
  $leader /bin/sh -c '
    trap : TERM
    out=$1 err=$2 code=$3
    shift 3
    (exec env -i "$@" </dev/null >"$out" 2>"$err")
    echo "$?" >"$code"
  ' forge "$run/out" "$run/err" "$run/code" \
    "PATH=$PATH" "HOME=$work" "LANG=C.UTF-8" "TMPDIR=$tmp" "$@" 2>"$run/died" &
  main=$!
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

  if [ -e "$run/overdue" ]; then
    end=timedout
  elif [ ! -s "$run/code" ]; then
    # The shell in between was ended together with its group.
    end=signalled code=$((code - 128))
  else
    read -r code <"$run/code"
    end=exited
    if [ -s "$run/died" ] && [ "$code" -gt 128 ]; then
      end=signalled code=$((code - 128))
    fi
  fi

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
        IFS= read -r line <"$run/stderr"
        case $line in
          'env: '*) end=cannotstart reason=${line#env: } ;;
        esac
      fi
      ;;
  esac
}

# Notes why a path will not be in the bundle. The path may have any character but NUL.
note() { printf '%s %s\000' "$1" "$2" >>"$run/noted"; }

# Lists what is wanted: regular files only, a line each. What is too large, or something else than a file,
# or reached through a link, is only noted. `find` follows no link, and notes by itself.
list() {
  near=.${run#"$work"}
  for file in notes stdout stderr; do
    if [ -e "$run/$file" ]; then echo "$near/$file"; fi
  done
  if [ "$wanted" = 0 ]; then return; fi
  output=./$1 parents=$2 linked=
  shift 2
  while [ "$parents" -gt 0 ]; do
    if [ -h "./$1" ]; then linked=$1; fi
    shift
    parents=$((parents - 1))
  done
  if [ -n "$linked" ]; then
    note linked "$output"
  elif [ -h "$output" ]; then
    note link "$output"
  elif [ -d "$output" ]; then
    note folder "$output"
  elif [ -f "$output" ]; then
    if [ -n "$(find "$output" ! -size "-${over}c")" ]; then note large "$output"; else echo "$output"; fi
  elif [ -e "$output" ]; then
    note special "$output"
  fi
  if [ "$#" = 0 ]; then return; fi
  find "$@" | LC_ALL=C sort >"$run/found"
  head -n "$files" "$run/found"
  found=$(wc -l <"$run/found")
  if [ "$found" -gt "$files" ]; then note more "./$((found - files))"; fi
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
  printf 'forge ./\000' >"$run/noted"
  : >"$run/notes"
  list "$@" >"$run/list" 2>/dev/null
  # A flood of notes must not take the place of files.
  head -c 65536 "$run/noted" >"$run/notes"
  if command -v tar >/dev/null 2>&1; then
    tar -cf - -T "$run/list" 2>/dev/null | head -c "$most" >"$run/bundle"
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

execute "$@"

bundle=none
wanted=$1
if [ "$wanted" -gt 0 ] || [ -s "$run/stdout" ] || [ -s "$run/stderr" ]; then
  pack "$@"
fi

dropped_out=0 dropped_err=0
if [ -s "$run/stdout.dropped" ]; then read -r dropped_out rest <"$run/stdout.dropped"; fi
if [ -s "$run/stderr.dropped" ]; then read -r dropped_err rest <"$run/stderr.dropped"; fi
echo "forge-status $end $code $took $dropped_out $dropped_err $bundle $reason" >"$run/status"
