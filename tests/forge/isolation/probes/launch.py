"""Starts a program as somebody else's machine would: `launch.py [OPTION]... -- PROGRAM [ARGUMENT]...`.

`pid=FILE` writes its process id. `terminal` gives it a terminal, beside its own input and output. `masked` hides
a part of its /proc, so that the kernel allows no fresh one below it. `fake-root` is a user who is called root.
The others are filters of system calls, which all that it starts inherits: `docker` refuses namespaces as a
container does, `apparmor` makes them and then refuses to mount in them, `no-landlock` is a kernel without it.
"""

import ctypes
import fcntl
import os
import platform
import struct
import sys
import termios

LIBC = ctypes.CDLL(None, use_errno=True)
X86 = platform.machine() == "x86_64"
EPERM, EACCES, ENOSYS = 1, 13, 38
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
LOAD, EQUAL, ANY_BIT, RETURN = 0x20, 0x15, 0x45, 0x06
NEW = 0x7E020000
NEWNS, NEWUSER = 0x20000, 0x10000000
CLONE, CLONE3, UNSHARE, MOUNT = (56, 435, 272, 165) if X86 else (220, 435, 97, 40)
FSOPEN, FSCONFIG, OPEN_TREE, MOVE_MOUNT, MOUNT_SETATTR = 430, 431, 428, 429, 442
LANDLOCK = [444, 445, 446]


def always(nr, error):
    """Refuses a call."""
    return [(EQUAL, 0, 1, nr), (RETURN, 0, 0, ERRNO | error)]


def with_any(nr, bits, error):
    """Refuses a call whose first argument has one of these bits. The number is loaded again behind it."""
    return [
        (EQUAL, 0, 4, nr),
        (LOAD, 0, 0, 16),
        (ANY_BIT, 0, 1, bits),
        (RETURN, 0, 0, ERRNO | error),
        (LOAD, 0, 0, 0),
    ]


def refused(calls, error):
    return [one for nr in calls for one in always(nr, error)]


FILTERS = {
    "docker": with_any(CLONE, NEW, EPERM)
    + with_any(UNSHARE, NEW, EPERM)
    + always(CLONE3, ENOSYS)
    + refused([MOUNT, FSOPEN, OPEN_TREE, MOVE_MOUNT, MOUNT_SETATTR], EPERM),
    "apparmor": refused([MOUNT, FSOPEN, OPEN_TREE, MOVE_MOUNT, MOUNT_SETATTR], EACCES),
    "no-landlock": refused(LANDLOCK, ENOSYS),
}


def install(filters):
    program = [(LOAD, 0, 0, 0)] + filters + [(RETURN, 0, 0, ALLOW)]
    code = b"".join(struct.pack("HBBI", *one) for one in program)
    buffer = ctypes.create_string_buffer(code)
    header = struct.pack("HL", len(program), ctypes.addressof(buffer))
    if LIBC.prctl(38, 1, 0, 0, 0) or LIBC.prctl(22, 2, header):
        sys.exit(f"launch.py: no filter: {os.strerror(ctypes.get_errno())}")


def give_terminal():
    master, slave = os.openpty()
    os.setsid()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    # It hangs up when the last one closes.
    for descriptor in [master, slave]:
        os.set_inheritable(descriptor, True)


def new_user_namespace(flags, inside):
    uid, gid = os.getuid(), os.getgid()
    if LIBC.unshare(NEWUSER | flags):
        sys.exit(f"launch.py: no namespace: {os.strerror(ctypes.get_errno())}")
    maps = [("setgroups", "deny"), ("uid_map", f"{inside(uid)} {uid} 1"), ("gid_map", f"{inside(gid)} {gid} 1")]
    for name, text in maps:
        with open(f"/proc/self/{name}", "w", encoding="utf-8") as file:
            file.write(text)


def mask():
    if os.getuid() == 0:
        LIBC.unshare(NEWNS)
    else:
        new_user_namespace(NEWNS, lambda it: it)
    failed = LIBC.mount(None, b"/", None, 0x44000, None)
    if failed or LIBC.mount(b"none", b"/proc/irq", b"tmpfs", 0, None):
        sys.exit(f"launch.py: cannot mask: {os.strerror(ctypes.get_errno())}")


def main():
    split = sys.argv.index("--")
    for option in sys.argv[1:split]:
        name, _, value = option.partition("=")
        if name == "pid":
            with open(value, "w", encoding="utf-8") as file:
                file.write(str(os.getpid()))
        elif name == "terminal":
            give_terminal()
        elif name == "masked":
            mask()
        elif name == "fake-root":
            new_user_namespace(0, lambda it: 0)
        else:
            install(FILTERS[name])
    os.execv(sys.argv[split + 1], sys.argv[split + 1 :])


main()
