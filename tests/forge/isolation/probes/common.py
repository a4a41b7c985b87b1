"""What the probes share: system calls by number, and one process for each attempt."""

import ctypes
import json
import os
import platform
import select
import signal
import socket
import sys
import time
import traceback

LIBC = ctypes.CDLL(None, use_errno=True)
X86 = platform.machine() == "x86_64"


def number(x86, arm):
    """The number of a system call on this machine."""
    return x86 if X86 else arm


def call(nr, *arguments):
    """A raw system call; an error is an OSError."""
    arguments = [it if isinstance(it, (bytes, ctypes.Array)) else ctypes.c_long(it) for it in arguments]
    result = LIBC.syscall(ctypes.c_long(nr), *arguments)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def checked(result):
    """The result of a function of the C library; an error is an OSError."""
    if result in (-1, None):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


class Blocked(Exception):
    """What was tried did not work, without an error of the system."""


def attempt(probe, limit=15):
    """Runs a probe in a process of its own. Returns a verdict and a reason in one line."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        os.setpgid(0, 0)
        try:
            said = "OPEN", str(probe())
        except (OSError, Blocked) as error:
            said = "BLOCKED", str(error)
        except BaseException:
            said = "BROKEN", traceback.format_exc()
        os.write(writer, "\t".join(said).replace("\n", " | ").encode()[-60000:])
        os._exit(0)
    os.close(writer)
    text, until = b"", time.monotonic() + limit
    while select.select([reader], [], [], max(0, until - time.monotonic()))[0]:
        part = os.read(reader, 65536)
        if not part:
            break
        text += part
    try:
        os.killpg(child, signal.SIGKILL)
    except OSError:
        pass
    os.close(reader)
    status = os.waitpid(child, 0)[1]
    if text:
        verdict, reason = text.decode(errors="replace").split("\t", 1)
        return verdict, reason
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGSYS, signal.SIGSEGV):
        return "BLOCKED", signal.strsignal(os.WTERMSIG(status))
    return "BROKEN", f"no answer, wait status {status}"


def report(probes):
    """Runs probes, and writes a line about each to the artifact."""
    with open(sys.argv[2], "w", encoding="utf-8") as out:
        for probe in probes:
            verdict, reason = attempt(probe)
            line = f"{probe.__name__}\t{verdict}\t{reason}"
            print(line, flush=True)
            print(line, file=out, flush=True)


def config():
    """What the test tells: paths, ports, ids."""
    return json.loads(sys.argv[1])


def neighbour(line, port=None, patience=30):
    """Connects to the test's process outside, and says something to it."""
    connection = socket.create_connection(("127.0.0.1", port or config()["tcp"]), timeout=patience)
    connection.sendall(line.encode() + b"\n")
    return connection


def answer(connection):
    """What it says until it closes."""
    with connection.makefile("r", encoding="utf-8") as said:
        return json.loads(said.read())
