# What the shells in sandboxes have in common: functions only, for any POSIX shell (dash, bash, busybox).
#
# They use: run (the folder of one command), work, forge, over, files, wanted, addresses, grace; and `launch`, which
# starts a program. They set: end and reason (of what cannot be started), time, word.

nap() { sleep "$1" 2>/dev/null || sleep 1; }

# The number in a file, if it is one.
number() {
  word=
  if [ -f "$1" ]; then read -r word rest <"$1"; fi
  case $word in
    *[!0-9]*) word= ;;
  esac
}

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

# The time in nanoseconds, of one clock or another.
now() {
  time=$(date +%s%N)
  case $time in
    '' | *[!0-9]*) ;;
    *) return ;;
  esac
  if [ -r /proc/uptime ] && read -r time rest </proc/uptime; then
    time=$((${time%.*} * 1000000000 + 1${time#*.} * 10000000 - 1000000000))
  else
    time=$(date +%s)000000000
  fi
}

# Launches the first program that exists: NPROGRAM (NWORD word...)... NARGUMENT argument... NAME=VALUE...
pick() {
  # The words of that program go to the end of the list, those of the others away.
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
  launch "$@"
}

# Tries to reach an address with one program: 0 when that worked, 7 when it did not, else when the program
# is of no use. Some networks answer in the place of everybody whom they shut out: an answer of HTTP that
# is an error is theirs. Any other answer, and none, is of whoever was asked.
attempt() {
  case $1 in
    bash)
      said=$(bash -c '
        exec 3<>"/dev/tcp/$1/$2" || exit 7
        printf "GET / HTTP/1.1\\r\\nHost: %s\\r\\nConnection: close\\r\\n\\r\\n" "$1" >&3
        line=
        IFS= read -r -t 2 line <&3
        case $line in HTTP/1.?" "[45]*) exit 7 ;; esac
      ' bash "$2" "$3" 2>&1)
      failed=$?
      case $failed:$said in
        0:*) return 0 ;;
        7:*onnect* | 7:) return 7 ;;
      esac
      return 9
      ;;
    python3)
      python3 -c 'import re, socket, sys
try:
    line = socket.create_connection((sys.argv[1], int(sys.argv[2])), 2)
except OSError:
    sys.exit(7)
try:
    line.sendall(b"GET / HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % sys.argv[1].encode())
    said = line.recv(100)
except OSError:
    said = b""
sys.exit(7 if re.match(rb"HTTP/1.. [45]", said) else 0)' "$2" "$3"
      ;;
    curl)
      said=$(curl -s -o /dev/null --noproxy '*' -m 3 -w '%{time_connect} %{http_code}' "http://$2:$3/")
      case $said in
        *' '[45]??) return 7 ;;
        *[1-9]*' '*) return 0 ;;
        0*' '*) return 7 ;;
      esac
      return 9
      ;;
    perl)
      perl -e 'eval { require IO::Socket::INET; 1 } or exit 9;
        my $line = IO::Socket::INET->new(PeerAddr => $ARGV[0], PeerPort => $ARGV[1], Timeout => 2) or exit 7;
        $SIG{PIPE} = "IGNORE"; $SIG{ALRM} = sub { exit 0 }; alarm 2;
        syswrite $line, "GET / HTTP/1.1\r\nHost: $ARGV[0]\r\nConnection: close\r\n\r\n";
        my $said = ""; sysread $line, $said, 100;
        exit($said =~ m{^HTTP/1.. [45]} ? 7 : 0)' "$2" "$3"
      ;;
    nc)
      said=$(printf 'GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$2" | nc -w 2 "$2" "$3")
      failed=$?
      case $said in
        HTTP/1.?' '[45]*) return 7 ;;
        ?*) return 0 ;;
      esac
      if [ "$failed" = 0 ]; then return 0; fi
      return 7
      ;;
  esac
}

# The same with the first program that is of use.
connect() {
  for tool in bash python3 curl perl nc; do
    if exists "$tool"; then
      attempt "$tool" "${1%:*}" "${1##*:}"
      case $? in
        0) return 0 ;;
        7) return 7 ;;
      esac
    fi
  done
  return 9
}

lines() {
  if [ -e "$1" ]; then wc -l <"$1"; else echo 0; fi
}

# Whether any of the addresses can be reached. What is dropped on the way is not answered at all.
reaches_out() {
  rm -rf "$run/reached" "$run/refused" "$run/useless"
  count=0 pids=
  for address in $addresses; do
    {
      connect "$address"
      case $? in
        0) echo >>"$run/reached" ;;
        7) echo >>"$run/refused" ;;
        *) echo >>"$run/useless" ;;
      esac
    } </dev/null >/dev/null 2>&1 &
    pids="$pids $!"
    count=$((count + 1))
  done
  # A program may start slowly on a busy machine; and one of them has no limit of its own.
  looks=80
  until [ -e "$run/reached" ] || [ "$looks" = 0 ]; do
    if [ $(($(lines "$run/refused") + $(lines "$run/useless"))) -ge "$count" ]; then break; fi
    nap 0.05
    looks=$((looks - 1))
  done
  kill -s KILL $pids 2>/dev/null
  if [ "$(lines "$run/useless")" -ge "$count" ]; then checked=unable; fi
  [ -e "$run/reached" ]
}

# Whether the network that was to be shut is. The rules for that may come later than the sandbox: they are
# waited for.
cut_off() {
  if [ -z "$addresses" ]; then return 0; fi
  checked=yes
  deadline=$(($(date +%s) + grace))
  while reaches_out; do
    if [ "$(date +%s)" -ge "$deadline" ]; then return 1; fi
    nap 0.5
  done
}

# Notes why a path will not be in the bundle. The path may have any character but NUL.
note() { printf '%s %s\000' "$1" "$2" >>"$run/noted"; }

# Lists what is wanted: regular files only, a line each, below forge's folder, where `work` leads to the
# working directory. What is too large, or something else than a file, or reached through a link, is only
# noted. `find` follows no link, and notes by itself.
list() {
  near=.${run#"$forge"}
  for file in notes stdout stderr; do
    if [ -e "$run/$file" ]; then echo "$near/$file"; fi
  done
  if [ "$wanted" = 0 ]; then return; fi
  output=./work/$1 parents=$2 linked=
  shift 2
  while [ "$parents" -gt 0 ]; do
    if [ -h "./work/$1" ]; then linked=$1; fi
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
  else
    # Nothing is there: what was written since the keeper wrote its first file may have been meant for it.
    find ./work/ -maxdepth 2 \( -name '.?*' -o -name __pycache__ -o -name node_modules \) -prune -o \
      -type f -newer "$run/keeper" -print | head -n 32 | while IFS= read -r file; do
      note wrote "$file"
    done
  fi
  if [ "$#" = 0 ]; then return; fi
  find "$@" | LC_ALL=C sort >"$run/found"
  head -n "$files" "$run/found"
  found=$(wc -l <"$run/found")
  if [ "$found" -gt "$files" ]; then note more "./$((found - files))"; fi
}

# Writes the list of what goes into the bundle, and its notes. The words are as for `list`.
gather() {
  mkdir -p "$run"
  cd "$forge" || return 1
  chmod u+rwx . "$run" 2>/dev/null
  chmod u+rw "$run"/* 2>/dev/null
  rm -rf "$run/noted" "$run/notes" "$run/list" "$run/found" "$run/bundle" ./work
  ln -s "$work" ./work
  printf 'forge ./\000' >"$run/noted"
  : >"$run/notes"
  list "$@" >"$run/list" 2>/dev/null
  # A flood of notes must not take the place of files.
  head -c 65536 "$run/noted" >"$run/notes"
}

# Writes what is listed as an archive of tar, also where tar reads no list.
archive() {
  if tar -cf /dev/null -T /dev/null 2>/dev/null; then
    tar -cf - -T "$run/list"
    return
  fi
  # Every name begins with a dot.
  set --
  while IFS= read -r file; do set -- "$@" "$file"; done <"$run/list"
  tar -cf - "$@"
}
