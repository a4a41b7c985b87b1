"""Other people's processes."""

import ctypes
import fcntl
import os
import resource
import signal
import sys
import termios

from common import LIBC, Blocked, answer, call, checked, config, neighbour, number

PTRACE_SEIZE = 0x4206
KEEPER = os.getppid()


def forge():
    with open(os.environ["FORGE_INPUTS"] + "/forge.pid", encoding="utf-8") as file:
        return int(file.read())


def outside():
    """The processes outside whose ids are known, if they are those that are meant."""
    return [config()["pid"], forge()]


def own_environment():
    needle = config()["needle"][::-1]
    found = [name for name, value in os.environ.items() if needle in value]
    if not found:
        raise Blocked("nothing of forge's is in it")
    return found


def other_environments():
    needle, found, looked = config()["needle"][::-1].encode(), [], 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for file in ["environ", "cmdline"]:
            try:
                with open(f"/proc/{pid}/{file}", "rb") as opened:
                    looked += 1
                    if needle in opened.read():
                        found.append(f"{pid}/{file}")
            except OSError:
                pass
    if not found:
        raise Blocked(f"not in {looked} that can be read")
    return found


def list_processes():
    listed = [int(it) for it in os.listdir("/proc") if it.isdigit()]
    found = [pid for pid in outside() if pid in listed]
    if not found:
        raise Blocked(f"{len(listed)} are listed, all of this sandbox")
    return found


def each(what):
    """Whether it works with any of the processes outside."""
    failed = []
    for pid in outside():
        try:
            return what(pid) or pid
        except OSError as error:
            failed.append(str(error))
    raise Blocked(", ".join(failed))


def send_signal():
    return each(lambda pid: os.kill(pid, 0))


def namespace():
    return os.readlink("/proc/self/ns/pid")


def signal_sibling():
    sibling = answer(neighbour("ask"))
    if sibling["namespace"] != namespace():
        raise Blocked("it counts its processes for itself")
    os.kill(sibling["pid"], 0)
    return sibling["pid"]


def read_sibling():
    sibling = answer(neighbour("ask"))
    with open(sibling["work"] + "/mine", encoding="utf-8") as file:
        return file.read()


def write_sibling():
    sibling = answer(neighbour("ask"))
    with open(sibling["work"] + "/planted", "w", encoding="utf-8") as file:
        file.write("from a neighbour")
    return "made a file"


def signal_keeper():
    """Ends what watches this program, and with it the limits."""
    if namespace() == config()["namespace"]:
        os.kill(KEEPER, 0)
        return KEEPER
    os.kill(1, signal.SIGKILL)
    os.kill(1, signal.SIGSTOP)
    raise Blocked("it takes no signals from inside")


def trace():
    def seize(pid):
        checked(LIBC.ptrace(PTRACE_SEIZE, pid, None, None))
        return f"traced {pid}"

    LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    return each(seize)


class Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


def read_memory_by_call():
    length = len(config()["needle"])
    buffer = ctypes.create_string_buffer(length)
    here = (Vector * 1)(Vector(ctypes.addressof(buffer), length))
    there = (Vector * 1)(Vector(config()["address"], length))
    call(number(310, 270), config()["pid"], here, 1, there, 1, 0)
    if buffer.raw.decode() != config()["needle"][::-1]:
        raise Blocked("it is another process")
    return "read the secret"


def read_memory_by_file():
    with open(f"/proc/{config()['pid']}/mem", "rb", buffering=0) as file:
        file.seek(config()["address"])
        if file.read(len(config()["needle"])).decode() != config()["needle"][::-1]:
            raise Blocked("it is another process")
    return "read the secret"


def take_descriptor():
    pidfd = call(number(434, 434), config()["pid"], 0)
    taken = call(number(438, 438), pidfd, config()["held"], 0)
    return os.pread(taken, 10, 0)


def open_descriptor():
    with open(f"/proc/{config()['pid']}/fd/{config()['held']}", encoding="utf-8") as file:
        return file.read(10)


def enter_root():
    path = f"/proc/{config()['pid']}/root{config()['elsewhere']}/secret"
    with open(path, encoding="utf-8") as file:
        return file.read(10)


def limit_others():
    def limit(pid):
        # As it is.
        resource.prlimit(pid, resource.RLIMIT_CORE, resource.prlimit(pid, resource.RLIMIT_CORE))

    return each(limit)


def slow_others():
    return each(lambda pid: os.sched_setaffinity(pid, os.sched_getaffinity(pid)))


def doom_others():
    def doom(pid):
        os.close(os.open(f"/proc/{pid}/oom_score_adj", os.O_WRONLY))

    return each(doom)


def look_into_keeper():
    """Into process 1, where that is of this sandbox."""
    pid = KEEPER if namespace() == config()["namespace"] else 1
    failed = []
    try:
        # Their numbers are no secret.
        descriptors = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        descriptors = []
    for file in ["mem", "environ", "maps", "root/etc", "cwd/."] + [f"fd/{it}" for it in descriptors]:
        path = f"/proc/{pid}/{file}"
        try:
            os.close(os.open(path, os.O_RDONLY))
            return path
        except OSError as error:
            failed.append(error.strerror)
    raise Blocked(", ".join(failed))


def own_descriptors():
    """Nothing that forge has open is open here."""
    odd = []
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
        if int(name) > 2 and not target.startswith(("pipe:", "/proc/")):
            odd.append(f"{name} is {target}")
    # That is the probe's own.
    odd = [it for it in odd if not it.endswith(sys.argv[2])]
    if not odd:
        raise Blocked("none but its own")
    return odd


def type_into_terminal():
    terminal = os.open("/dev/tty", os.O_RDWR)
    fcntl.ioctl(terminal, termios.TIOCSTI, b"\n")
    return "typed"


PROBES = [
    own_environment,
    other_environments,
    list_processes,
    send_signal,
    signal_sibling,
    read_sibling,
    write_sibling,
    signal_keeper,
    trace,
    read_memory_by_call,
    read_memory_by_file,
    take_descriptor,
    open_descriptor,
    enter_root,
    limit_others,
    slow_others,
    doom_others,
    look_into_keeper,
    own_descriptors,
    type_into_terminal,
]
