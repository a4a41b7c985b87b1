# Makes a folder with what this machine has of BusyBox, bash, dash, Perl and Python, to make images from.
#
#   folder
set -u
folder=$1
busybox=$(command -v busybox)
mkdir -p "$folder/bin" "$folder/usr/bin" "$folder/etc" "$folder/home" "$folder/tmp" "$folder/proc" "$folder/sys" "$folder/dev"
chmod 1777 "$folder/tmp"
printf 'root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n' >"$folder/etc/passwd"
cp "$busybox" "$folder/bin/busybox"
for name in $("$busybox" --list); do ln -s busybox "$folder/bin/$name" 2>/dev/null; done

# A file with the folders above it, and the libraries that it needs.
bring() {
  for file; do
    real=$(readlink -f "$file") || continue
    for one in "$real" $(ldd "$real" 2>/dev/null | grep -o '/[^ ]*'); do
      [ -e "$folder$one" ] && continue
      mkdir -p "$folder$(dirname "$one")"
      cp -L "$one" "$folder$one"
    done
  done
}
tree() {
  [ -d "$1" ] || return
  mkdir -p "$folder$1"
  (cd "$1" && tar -c --exclude=test --exclude=tests --exclude=__pycache__ --exclude=site-packages --exclude='*.a' .) |
    (cd "$folder$1" && tar -x)
  bring $(find "$folder$1" -name '*.so*' | sed "s|^$folder||" | grep 'lib-dynload\|/auto/')
}

rm -f "$folder/bin/sh"
bring /bin/bash /bin/sh
ln -sf "$(readlink -f /bin/bash)" "$folder/usr/bin/env-bash" 2>/dev/null
[ -e "$folder/bin/bash" ] || ln -s "$(readlink -f /bin/bash)" "$folder/bin/bash"
[ -e "$folder/bin/sh" ] || ln -s "$(readlink -f /bin/sh)" "$folder/bin/sh"
ln -s /bin/env "$folder/usr/bin/env"

perl=$(command -v perl) && bring "$perl" && {
  ln -s "$(readlink -f "$perl")" "$folder/bin/perl"
  for place in $(perl -e 'print join " ", @INC'); do tree "$place"; done
}
# One that can make environments.
for python in $(which -a python3) /usr/local/bin/python3 /usr/bin/python3; do
  "$python" -c 'import ensurepip, venv' 2>/dev/null || continue
  base=$("$python" -c 'import sys; print(sys._base_executable)')
  bring "$base"
  tree "$("$python" -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
  tree "$("$python" -c 'import sysconfig; print(sysconfig.get_path("platstdlib"))')"
  tree /usr/share/python-wheels
  ln -s "$(readlink -f "$base")" "$folder/bin/python3"
  break
done
