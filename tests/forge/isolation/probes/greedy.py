"""Candidates that take more than their share, each by its own name. The small limits of the test are in the
first argument. What is still there after a while, with all that it wanted, says so.
"""

import ctypes
import mmap
import os
import resource
import select
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time

from common import LIBC, Blocked, call, checked, config

MIB = 1 << 20
BLOCK = b"x" * MIB


def limit(name):
    return config()[name]


def wait_for_the_end():
    """The meter looks several times a second."""
    time.sleep(5)


def processes():
    children = []
    try:
        while len(children) < 600:
            child = os.fork()
            if child == 0:
                time.sleep(60)
                os._exit(0)
            children.append(child)
        wait_for_the_end()
        return f"{len(children)} children"
    except OSError as error:
        if len(children) < limit("processes") // 2:
            raise AssertionError(f"only {len(children)} children") from error
        raise Blocked(f"{error} after {len(children)}")
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)


def threads():
    over, started = threading.Event(), 0
    threading.stack_size(65536)
    try:
        while started < 600:
            threading.Thread(target=over.wait, args=(60,), daemon=True).start()
            started += 1
        wait_for_the_end()
        return f"{started} threads"
    except RuntimeError as error:
        if started < limit("processes") // 2:
            raise AssertionError(f"only {started} threads") from error
        raise Blocked(f"{error} after {started}")
    finally:
        over.set()


def touch(megabytes):
    held = []
    for _ in range(megabytes // 16):
        held.append(bytearray(os.urandom(4096)) * 4096)
    return held


def memory():
    held = []
    try:
        for _ in range(256):
            held.append(bytearray(16 * MIB))
            held[-1][::4096] = b"x" * 4096
        wait_for_the_end()
        return f"{16 * len(held)} MiB"
    except MemoryError:
        size = 16 * len(held)
        del held[:]
        if size * MIB < limit("memory") // 2:
            raise AssertionError(f"only {size} MiB")
        raise Blocked(f"no more after {size} MiB")


def memory_of_children():
    for _ in range(8):
        if os.fork() == 0:
            held = touch(limit("memory") // MIB // 2)
            time.sleep(60)
            os._exit(len(held) & 1)
    wait_for_the_end()
    return "8 children of half the limit"


def memory_files():
    held = []
    for _ in range(2 * limit("memory") // (16 * MIB)):
        held.append(os.memfd_create("greedy"))
        for _ in range(16):
            os.write(held[-1], BLOCK)
    wait_for_the_end()
    return f"{len(held)} files of 16 MiB"


def mapped_memory():
    """Shared memory is not of the kind that the limit of a process counts."""
    held = mmap.mmap(-1, 3 * limit("memory"))
    for at in range(0, len(held), MIB):
        held[at : at + MIB] = BLOCK
    wait_for_the_end()
    return f"{len(held) // MIB} MiB"


def abandoned_memory():
    """Children have touched it, one part each; who holds it has not."""
    held = mmap.mmap(-1, 3 * limit("memory"))
    for part in range(0, len(held), limit("memory") // 4):
        child = os.fork()
        if child == 0:
            for at in range(part, part + limit("memory") // 4, MIB):
                held[at : at + MIB] = BLOCK
            os._exit(0)
        os.waitpid(child, 0)
    wait_for_the_end()
    return f"{len(held) // MIB} MiB"


def abandoned_memory_files():
    """No descriptor leads to them any more, and nobody has touched them where they are mapped."""
    LIBC.mmap.restype = ctypes.c_long
    LIBC.mmap.argtypes = [ctypes.c_long] * 6
    for _ in range(3 * limit("memory") // (16 * MIB)):
        file = os.memfd_create("greedy")
        for _ in range(16):
            os.write(file, BLOCK)
        checked(LIBC.mmap(0, 16 * MIB, mmap.PROT_READ, mmap.MAP_SHARED, file, 0))
        os.close(file)
    wait_for_the_end()
    return "mappings of 16 MiB"


def hidden_memory():
    """Nobody but root may look into such processes."""
    LIBC.prctl(4, 0, 0, 0, 0)
    return memory_of_children()


def memory_behind_files():
    """Looking at many files takes long."""
    for folder in range(4):
        os.mkdir(f"f{folder}")
        for name in range(15000):
            os.symlink("x", f"f{folder}/{name}")
    time.sleep(1)
    return memory_of_children()


def memory_in_flight():
    """Files that were sent and not received are in nobody's descriptors."""
    ours, theirs = socket.socketpair()
    for _ in range(2 * limit("memory") // (16 * MIB)):
        file = os.memfd_create("greedy")
        for _ in range(16):
            os.write(file, BLOCK)
        socket.send_fds(ours, [b"x"], [file])
        os.close(file)
    time.sleep(30)
    return theirs.fileno()


def memory_of_unreadable():
    """Who runs a program that cannot be read shows its descriptors to root only."""
    shutil.copy(shutil.which("sleep"), "sleep")
    os.chmod("sleep", 0o111)
    for _ in range(4):
        started, closed_by_exec = os.pipe()
        if os.fork() == 0:
            for _ in range(limit("memory") // (32 * MIB)):
                file = os.memfd_create("greedy")
                os.set_inheritable(file, True)
                for _ in range(16):
                    os.write(file, BLOCK)
            os.execv("./sleep", ["sleep", "30"])
        os.close(closed_by_exec)
        os.read(started, 1)
    time.sleep(30)
    return "4 programs with half of the limit"


def page_tables():
    """Where one byte is read, the kernel needs a page for where it is."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000
    held = mmap.mmap(-1, 1024 * limit("memory"), flags=flags, prot=mmap.PROT_READ)
    for at in range(0, len(held), 2 * MIB):
        held[at]
    wait_for_the_end()
    return f"{len(held) // MIB} MiB, of which the first byte of each second one"


def of_children(count, what):
    """Does something in so many processes, which stay."""
    for _ in range(count):
        if os.fork() == 0:
            held = what()
            time.sleep(60)
            os._exit(len(held) & 1)
    # There is much to look at.
    time.sleep(25)
    return f"{count} children"


def fill_up(descriptor):
    os.set_blocking(descriptor, False)
    try:
        while True:
            os.write(descriptor, BLOCK[:65536])
    except BlockingIOError:
        pass


def pairs():
    held = []
    for _ in range(400):
        held.append(socket.socketpair())
        fill_up(held[-1][0].fileno())
    return held


def socket_buffers():
    return of_children(6, pairs)


def socket_buffers_without_senders():
    def receivers():
        held = []
        for _ in range(800):
            ours, theirs = socket.socketpair()
            fill_up(ours.fileno())
            held.append(theirs)
        return held

    return of_children(4, receivers)


def connections_that_nobody_accepts():
    def connections():
        listener = socket.create_server(("127.0.0.1", 0), backlog=1000)
        held = [listener]
        for _ in range(400):
            held.append(socket.create_connection(listener.getsockname()))
            fill_up(held[-1].fileno())
        return held

    return of_children(4, connections)


def connections_whose_senders_closed():
    """What they have sent is not received."""

    def connections():
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        listener.bind(("127.0.0.1", 0))
        listener.listen(10)
        held = []
        for _ in range(400):
            sender = socket.create_connection(listener.getsockname())
            held.append(listener.accept()[0])
            fill_up(sender.fileno())
            sender.close()
        return held

    return of_children(4, connections)


def watched_descriptors():
    def watches():
        pipes = [os.pipe() for _ in range(200)]
        held = [select.epoll() for _ in range(500)]
        for epoll in held:
            for pipe in pipes:
                epoll.register(pipe[0], select.EPOLLIN)
                epoll.register(pipe[1], select.EPOLLERR)
        return held

    return of_children(20, watches)


def memory_files_of_a_thread():
    """Which has descriptors of its own."""

    def fill_files():
        call(436, 1000, 1001, 2)
        memory_files()

    result = []

    def in_thread():
        try:
            fill_files()
            result.append("files that only a thread has")
        except OSError as error:
            result.append(error)

    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()
    if isinstance(result[0], OSError):
        raise result[0]
    return result[0]


def without_first_thread(what):
    """Does something in processes of which `/proc` tells nothing by their own number."""
    for _ in range(4):
        if os.fork() == 0:
            gone = threading.Event()

            def others():
                gone.wait()
                time.sleep(0.2)
                held = what()
                time.sleep(60)
                os._exit(len(held) & 1)

            threading.Thread(target=others).start()
            gone.set()
            call(number(60, 93), 0)
    time.sleep(25)
    return "4 processes whose first thread has ended"


def memory_without_first_thread():
    return without_first_thread(lambda: touch(limit("memory") // MIB // 3))


def memory_files_without_first_thread():
    def files():
        file = os.memfd_create("x")
        for _ in range(limit("memory") // MIB // 3):
            os.write(file, BLOCK)
        return [file]

    return without_first_thread(files)


def burst_of_threads():
    """From several processes at once."""

    def many():
        over, started = threading.Event(), []
        threading.stack_size(65536)
        try:
            while len(started) < 2000:
                started.append(threading.Thread(target=over.wait, args=(60,), daemon=True))
                started[-1].start()
        except RuntimeError:
            pass
        return started

    for _ in range(4):
        if os.fork() == 0:
            many()
            time.sleep(60)
            os._exit(0)
    wait_for_the_end()
    return tasks_at_most()


def burst_of_processes():
    """Each of which makes more."""

    def more():
        while True:
            try:
                os.fork()
            except OSError:
                time.sleep(1)

    if os.fork() == 0:
        more()
    wait_for_the_end()
    return tasks_at_most()


def tasks_at_most():
    try:
        held = [os.fork() or time.sleep(60) for _ in range(1)]
    except OSError as error:
        raise Blocked("no more of them") from error
    return f"one more: {held}"


def closed_files():
    os.mkdir("closed")
    os.chmod("closed", 0o300)
    return fill("closed")


def moving_files():
    """Who walks in there does not find the way back."""
    os.makedirs("a/a")
    os.makedirs("z/b/c")
    os.mkdir("y")
    if os.fork() == 0:
        while True:
            os.rename("z/b", "y/b")
            os.rename("y/b", "z/b")
    return fill("a/a")


def big_file():
    with open("big", "wb", buffering=0) as file:
        for _ in range(4 * limit("disk") // MIB):
            file.write(BLOCK)
        wait_for_the_end()
        return f"{file.tell() // MIB} MiB"


def sparse_file():
    with open("sparse", "wb") as file:
        os.truncate(file.fileno(), 10 << 30)
        return "10 GiB"


def allocated_file():
    LIBC.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    with open("allocated", "wb") as file:
        checked(LIBC.fallocate(file.fileno(), 0, 0, 1 << 30))
        return "1 GiB"


def fill(folder):
    total, size = 0, limit("disk") // 16
    for index in range(64):
        with open(f"{folder}/{config()['mark']}-{index}", "wb") as file:
            for _ in range(size // MIB):
                file.write(BLOCK)
        total += size
    wait_for_the_end()
    return f"{total // MIB} MiB"


def many_files():
    os.makedirs("a/b/c")
    return fill("a/b/c")


def temporary_files():
    return fill(tempfile.gettempdir())


def artifact_files():
    return fill(os.environ["FORGE_ARTIFACTS"])


def shared_memory_folder():
    try:
        return fill("/dev/shm")
    finally:
        for name in os.listdir("/dev/shm"):
            if name.startswith(config()["mark"]):
                os.unlink(f"/dev/shm/{name}")


def unlinked_files():
    held = []
    for index in range(64):
        held.append(os.open(f"gone{index}", os.O_CREAT | os.O_WRONLY))
        os.unlink(f"gone{index}")
        for _ in range(limit("disk") // 16 // MIB):
            os.write(held[-1], BLOCK)
    wait_for_the_end()
    return "64 files without a name"


def descriptors():
    held = []
    try:
        while len(held) < 20000:
            held.append(os.open("/dev/null", os.O_RDONLY))
        return len(held)
    finally:
        for descriptor in held:
            os.close(descriptor)


def core_file():
    resource.setrlimit(resource.RLIMIT_CORE, (1, 1))
    return "allowed"


def main():
    name = os.environ["FORGE_CANDIDATE"].replace("-", "_")
    try:
        said = "OPEN", globals()[name]()
    except (OSError, Blocked, ValueError) as error:
        said = "BLOCKED", error
    with open(sys.argv[2], "w", encoding="utf-8") as out:
        print(name, *said, sep="\t", file=out)


main()
