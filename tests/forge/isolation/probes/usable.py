"""A candidate that does what programs do, and says of each thing whether it works."""

import concurrent.futures
import errno
import getpass
import locale
import multiprocessing
import os
import pwd
import shutil
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import threading
import time

from common import LIBC, Blocked, checked, report

NO_RESERVE = 0x4000
PYTHON = sys.executable or "python3"


def expect(truth, *why):
    if not truth:
        raise Blocked(" ".join(str(it) for it in why) or "not as it should be")


def printed(*command, code=0):
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    expect(done.returncode == code, command, done.returncode, done.stdout[-300:], done.stderr[-300:])
    return done.stdout.strip()


def serve_itself():
    server = socket.create_server(("127.0.0.1", 0))
    with socket.create_connection(server.getsockname(), timeout=5) as client:
        served = server.accept()[0]
        client.sendall(b"hello")
        return served.recv(5)


def serve_itself_by_name():
    server = socket.create_server(("localhost", 0))
    return socket.create_connection(("localhost", server.getsockname()[1]), timeout=5).getpeername()


def find_localhost():
    addresses = {it[4][0] for it in socket.getaddrinfo("localhost", 80, socket.AF_INET)}
    expect("127.0.0.1" in addresses, addresses)
    return addresses


def unix_socket_of_its_own():
    server = socket.socket(socket.AF_UNIX)
    server.bind("own.sock")
    server.listen()
    client = socket.socket(socket.AF_UNIX)
    client.connect("own.sock")
    return "connected"


def pair_of_sockets():
    one, other = socket.socketpair()
    one.sendall(b"x")
    return other.recv(1)


def lock_between_processes():
    with multiprocessing.Lock():
        return "locked"


def square(number):
    return number * number


def pool_of_processes():
    with multiprocessing.get_context("fork").Pool(2) as pool:
        expect(pool.map(square, range(4)) == [0, 1, 4, 9])
    return "four squares"


def queue_between_threads():
    done = []
    threads = [threading.Thread(target=done.append, args=(it,)) for it in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expect(len(done) == 40)
    return "40 threads"


def signal_ends_itself():
    done = subprocess.run([PYTHON, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"], timeout=60)
    expect(done.returncode == -signal.SIGTERM, done.returncode)
    done = subprocess.run(["sh", "-c", "kill -TERM $$; sleep 5"], timeout=60)
    expect(done.returncode == -signal.SIGTERM, done.returncode)
    return "ended by SIGTERM"


def signal_to_group():
    child = subprocess.Popen(["sh", "-c", "sleep 60 & sleep 60"], start_new_session=True)
    time.sleep(0.1)
    os.killpg(child.pid, signal.SIGTERM)
    expect(child.wait(timeout=20) == -signal.SIGTERM)
    return "the group ended"


def orphans_are_reaped():
    # The shell is gone when they end.
    orphans = printed("sh", "-c", "for i in 1 2 3 4 5; do sh -c 'echo $$; sleep 0.05' & done").split()
    until = time.monotonic() + 10
    while time.monotonic() < until:
        left = []
        for pid in orphans:
            try:
                os.kill(int(pid), 0)
                left.append(pid)
            except ProcessLookupError:
                pass
        if len(orphans) == 5 and not left:
            return "no zombie"
        time.sleep(0.05)
    raise Blocked(f"zombies stay: {left}")


def handle_signals():
    heard = []
    signal.signal(signal.SIGALRM, lambda *_: heard.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    time.sleep(0.2)
    expect(heard)
    return "heard"


def own_terminal():
    master, slave = os.openpty()
    os.write(slave, b"x")
    expect(os.read(master, 1) == b"x" and os.isatty(slave))
    return os.ttyname(slave) if os.path.exists("/dev/pts") else "a terminal"


def pip():
    return printed(PYTHON, "-m", "pip", "--version")


def git():
    printed("git", "init", "-q", "repository")
    return printed("git", "--version")


def commit():
    printed("git", "init", "-q", "history")
    with open("history/file", "w", encoding="utf-8") as file:
        file.write("x")
    printed("git", "-C", "history", "add", "file")
    printed("git", "-C", "history", "commit", "-q", "-m", "first")
    printed("git", "-C", "history", "config", "user.name", "Somebody Else")
    printed("git", "-C", "history", "commit", "-q", "-m", "second", "--allow-empty")
    names = printed("git", "-C", "history", "log", "--format=%an").split("\n")
    expect(names[0] == "Somebody Else" and names[1], names)
    return names


def change_own_files():
    with open("mine", "w", encoding="utf-8") as file:
        file.write("x")
    os.symlink("mine", "link")
    os.chmod("mine", 0o4751)
    expect(os.stat("mine").st_mode & 0o7777 == 0o4751, oct(os.stat("mine").st_mode))
    os.utime("mine", ns=(5, 7_000_000_001))
    expect(os.stat("mine").st_mtime_ns == 7_000_000_001)
    os.utime("link", (5, 9), follow_symlinks=False)
    expect(os.lstat("link").st_mtime == 9 and os.stat("mine").st_mtime < 9)
    os.utime("mine")
    expect(os.stat("mine").st_mtime > 1_000_000)
    os.chown("mine", os.getuid(), -1)
    os.lchown("link", -1, os.getgid())
    try:
        os.setxattr("mine", "user.colour", b"green")
        expect(os.getxattr("link", "user.colour") == b"green")
        os.removexattr("mine", "user.colour")
    except OSError as error:
        expect(error.errno == errno.EOPNOTSUPP, error)
    descriptor = os.open("mine", os.O_RDONLY)
    os.fchmod(descriptor, 0o600)
    os.chmod(f"/proc/self/fd/{descriptor}", 0o640)
    os.chmod(f"/dev/fd/{descriptor}", 0o644)
    expect(os.stat("mine").st_mode & 0o7777 == 0o644)
    folder = os.open(".", os.O_RDONLY)
    os.chmod("mine", 0o600, dir_fd=folder)
    for wrong, error in [("nowhere", errno.ENOENT), ("mine/below", errno.ENOTDIR)]:
        try:
            os.chmod(wrong, 0o600)
            expect(False, wrong)
        except OSError as said:
            expect(said.errno == error, said)
    printed("cp", "-a", "mine", "copy")
    shutil.copy2("mine", "copy2")
    printed("sh", "-c", "mkdir tree && cp copy tree/a && chmod 711 tree && tar cf tree.tar tree && mkdir out && tar xpf tree.tar -C out")
    expect(os.stat("out/tree").st_mode & 0o777 == 0o711)
    return "changed"


def change_own_files_at_once():
    def change(name):
        for mode in [0o600, 0o644] * 50:
            with open(name, "a", encoding="utf-8"):
                os.chmod(name, mode)
                expect(os.stat(name).st_mode & 0o777 == mode)

    # One that is ended while it waits takes nobody with it.
    doomed = subprocess.Popen(["sh", "-c", "while :; do chmod 600 doomed; done"], stderr=subprocess.DEVNULL)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(change, [f"file-{it}" for it in range(8)]))
    doomed.kill()
    doomed.wait()
    return "800 changes"


def user_name():
    expect(getpass.getuser() and os.environ["USER"] == os.environ["LOGNAME"] == getpass.getuser())
    return getpass.getuser()


def usual_mask():
    mask = os.umask(0o022)
    expect(mask == 0o022, oct(mask))
    return oct(mask)


def shell_tools():
    return printed("sh", "-c", "printf 'b\\na\\n' | sort | head -n 1 | tr a x && ls -la . > /dev/null && id && date && uname -a")


def temporary_files():
    with tempfile.TemporaryDirectory() as folder, tempfile.NamedTemporaryFile(dir=folder) as file:
        file.write(b"x")
        os.symlink("a", folder + "/link")
        os.rename(folder + "/link", folder + "/other")
    with tempfile.TemporaryFile() as file:
        file.write(b"x")
    return tempfile.gettempdir()


def database():
    with sqlite3.connect("data.db") as connection:
        connection.execute("pragma journal_mode = wal")
        connection.execute("create table t (a)")
        connection.execute("insert into t values (1)")
        return connection.execute("select count(*) from t").fetchall()


def certificates():
    ssl.create_default_context()
    paths = ssl.get_default_verify_paths()
    path = paths.cafile or paths.capath
    if path is None:
        return "this machine has none"
    expect(os.access(path, os.R_OK), path)
    return path


def languages():
    return locale.setlocale(locale.LC_ALL, "C.UTF-8"), time.tzname, sys.getfilesystemencoding()


def who_am_i():
    return os.path.expanduser("~"), printed("id", "-u"), printed("sh", "-c", "echo $HOME")


def name_in_the_list():
    try:
        return pwd.getpwuid(os.getuid()).pw_name, getpass.getuser()
    except KeyError as error:
        raise Blocked(str(error))


def home_is_writable():
    with open(os.path.expanduser("~/.cache-of-mine"), "w", encoding="utf-8") as file:
        file.write("x")
    return os.path.expanduser("~")


def look_at_itself():
    with open("/proc/self/status", encoding="utf-8") as file:
        expect("Name:" in file.read())
    expect(os.path.samefile(f"/proc/{os.getpid()}", "/proc/self"))
    return os.listdir("/proc/self/fd")


def look_at_machine():
    with open("/proc/meminfo", encoding="utf-8") as memory, open("/proc/cpuinfo", encoding="utf-8") as processors:
        expect("MemTotal" in memory.read() and "processor" in processors.read())
    return os.cpu_count(), os.sched_getaffinity(0), os.getloadavg()


def devices():
    with open("/dev/urandom", "rb") as random, open("/dev/null", "wb") as null, open("/dev/zero", "rb") as zero:
        null.write(random.read(10) + zero.read(10))
    return printed("sh", "-c", "echo x > /dev/stderr; cat < /dev/stdin; echo y > /dev/stdout; exec 9<>/dev/fd/1")


def run_own_programs():
    with open("tool", "w", encoding="utf-8") as tool:
        tool.write("#!/bin/sh\necho ran $1\n")
    os.chmod("tool", 0o755)
    return printed("./tool", "well")


def executable_memory():
    import ctypes
    import mmap

    memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(b"\xc3")
    return ctypes.sizeof(ctypes.c_void_p), len(memory)


def reserve_address_space():
    import mmap

    mmap.mmap(-1, 64 << 30, flags=mmap.MAP_PRIVATE | NO_RESERVE, prot=0)
    return "64 GiB that are not used"


def memory_file():
    descriptor = os.memfd_create("x")
    os.write(descriptor, b"x")
    return os.pread(descriptor, 1, 0)


def watch_a_folder():
    watch = checked(LIBC.inotify_init1(0))
    checked(LIBC.inotify_add_watch(watch, b".", 0x100))
    open("watched", "w", encoding="utf-8").close()
    return len(os.read(watch, 4096))


def spawn_quickly():
    for _ in range(50):
        subprocess.run(["true"], check=True)
    return "50 programs"


report(
    [
        serve_itself,
        serve_itself_by_name,
        find_localhost,
        unix_socket_of_its_own,
        pair_of_sockets,
        lock_between_processes,
        pool_of_processes,
        queue_between_threads,
        signal_ends_itself,
        signal_to_group,
        orphans_are_reaped,
        handle_signals,
        own_terminal,
        pip,
        git,
        commit,
        change_own_files,
        change_own_files_at_once,
        user_name,
        usual_mask,
        shell_tools,
        temporary_files,
        database,
        certificates,
        languages,
        who_am_i,
        name_in_the_list,
        home_is_writable,
        look_at_itself,
        look_at_machine,
        devices,
        run_own_programs,
        executable_memory,
        reserve_address_space,
        memory_file,
        watch_a_folder,
        spawn_quickly,
    ]
)
