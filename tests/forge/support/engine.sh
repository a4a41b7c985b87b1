# A container engine of one test process: Podman with a store of its own, gone with whoever holds the standard
# input. Says `ready` when it listens.
#
#   folder
set -u
folder=$1
socket=$folder/engine.sock
mkdir -p "$folder/root" "$folder/run" "$folder/image/bin"

cat >"$folder/containers.conf" <<END
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
[containers]
END
store() {
  cat >"$folder/storage.conf" <<END
[storage]
driver = "$1"
graphroot = "$folder/root"
runroot = "$folder/run"
END
}
export CONTAINERS_CONF=$folder/containers.conf CONTAINERS_STORAGE_CONF=$folder/storage.conf
store overlay
podman info >/dev/null 2>&1 || { rm -rf "$folder/root" "$folder/run"; mkdir "$folder/root" "$folder/run"; store vfs; }

busybox=$(command -v busybox)
cp "$busybox" "$folder/image/bin/busybox"
for name in $("$busybox" --list); do ln -s busybox "$folder/image/bin/$name" 2>/dev/null; done
import() { podman import "$@" >/dev/null || { echo "podman import failed"; exit 1; }; }
mkdir -p "$folder/image/etc" "$folder/image/home" "$folder/image/tmp" "$folder/image/proc" "$folder/image/sys" "$folder/image/dev"
printf 'nobody:x:65534:65534::/:/bin/sh\n' >"$folder/image/etc/passwd"
(cd "$folder/image" && tar -c .) | import --change 'ENV PATH=/bin' - forge-test-busybox
(cd "$folder/image" && tar -c .) | import --change 'ENV PATH=/bin' --change 'USER nobody' - forge-test-own-user
(cd "$folder/image" && rm bin/tar bin/env && tar -c .) | import --change 'ENV PATH=/bin' - forge-test-without-tar
(cd "$folder/image" && rm bin/sh && tar -c .) | import --change 'ENV PATH=/bin' - forge-test-without-shell

# Podman's helpers leave notes in the folder that they were started in.
cd "$folder" || exit 1
podman system service --time 0 "unix://$socket" >"$folder/log" 2>&1 </dev/null &
service=$!
tries=200
until [ -S "$socket" ] || [ "$tries" = 0 ]; do
  sleep 0.05
  tries=$((tries - 1))
done
if [ -S "$socket" ]; then echo ready; else cat "$folder/log"; fi
# Until the tests have gone.
cat >/dev/null
podman rm --all --force --time 0 >/dev/null 2>&1
kill "$service"
wait "$service" 2>/dev/null
podman unmount --all --force >/dev/null 2>&1
rm -rf "$folder"
