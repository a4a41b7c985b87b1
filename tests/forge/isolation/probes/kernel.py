"""The kernel's own doors. Each is harmless where it is open: it undoes, or opens and does not use."""

import ctypes
import mmap
import os
import stat

from common import LIBC, X86, Blocked, answer, call, checked, config, neighbour, number

NEWNS, NEWUSER, NEWPID, NEWNET = 0x20000, 0x10000000, 0x20000000, 0x40000000
BIND, REMOUNT, READ_ONLY = 4096, 32, 1


def mount_filesystem():
    os.makedirs("mounted", exist_ok=True)
    checked(LIBC.mount(b"none", b"mounted", b"tmpfs", 0, None))
    LIBC.umount2(b"mounted", 2)
    return "mounted a tmpfs"


def remount_writable():
    failed = []
    for place in [b"/usr", b"/etc", b"/"]:
        try:
            checked(LIBC.mount(None, place, None, BIND | REMOUNT | READ_ONLY, None))
            # Back to what it was: outside of a sandbox, writable.
            checked(LIBC.mount(None, place, None, BIND | REMOUNT, None))
            return place
        except OSError as error:
            failed.append(str(error))
    raise Blocked(", ".join(failed))


def unmount():
    checked(LIBC.umount2(b"/proc/sys/fs/binfmt_misc", 2))
    return "unmounted"


def mount_by_descriptor():
    return [os.close(call(430, b"tmpfs", 0)), "fsopen"]


def clone_mounts():
    return [os.close(call(428, -100, b"/", 1 | os.O_CLOEXEC)), "open_tree"]


def new_user_namespace():
    checked(LIBC.unshare(NEWUSER))
    return "has all capabilities in it"


def new_namespaces_by_clone():
    child = call(number(56, 220), NEWUSER | NEWPID | 17, 0, 0, 0, 0)
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return "cloned"


def new_namespaces_by_clone3():
    arguments = (ctypes.c_uint64 * 8)(NEWUSER, 0, 0, 0, 17, 0, 0, 0)
    child = call(435, arguments, 64)
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return "cloned"


def new_mount_namespace():
    checked(LIBC.unshare(NEWNS))
    return "unshared"


def enter_namespace():
    for pid in [1, os.getppid()]:
        for kind in ["user", "mnt", "net"]:
            try:
                opened = os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY)
            except OSError:
                continue
            if LIBC.setns(opened, 0) == 0:
                return kind
            os.close(opened)
    raise Blocked("none of those that can be seen")


def change_root():
    os.chroot(".")
    return "changed"


def become_root():
    if os.getuid() == 0:
        # Root by name only, if it can do nothing that needs a capability.
        os.chroot("/")
        return "is root with capabilities"
    os.setuid(0)
    return "became root"


def capabilities():
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)()
    call(number(125, 90), header, sets)
    found = [f"{it:x}" for it in sets if it]
    if LIBC.prctl(39, 0, 0, 0, 0) != 1:
        found.append("new ones from set-user-id programs")
    if not found:
        raise Blocked("none, and no way to get any")
    return found


def open_for_writing(*paths):
    failed = []
    for path in paths:
        try:
            os.close(os.open(path, os.O_WRONLY))
            return path
        except OSError as error:
            failed.append(str(error))
    raise Blocked(", ".join(failed))


def write_core_pattern():
    return open_for_writing("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/hostname")


def write_sysrq():
    return open_for_writing("/proc/sysrq-trigger", "/proc/sys/vm/drop_caches")


def write_sysfs():
    return open_for_writing("/sys/power/state", "/sys/kernel/mm/transparent_hugepage/enabled", "/sys/module/kernel/parameters/panic", "/sys/fs/cgroup/cgroup.procs")


def read_kernel_memory():
    for path in ["/proc/kcore", "/dev/mem", "/dev/port"]:
        try:
            os.close(os.open(path, os.O_RDONLY))
            return path
        except OSError:
            pass
    raise Blocked("none of them")


def read_kernel_log():
    try:
        os.close(os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK))
        return "/dev/kmsg"
    except OSError:
        buffer = ctypes.create_string_buffer(4096)
        if checked(LIBC.klogctl(3, buffer, 4096)) == 0:
            raise Blocked("nothing in it")
        return "syslog"


def open_disk():
    failed = []
    for name in os.listdir("/dev"):
        path = f"/dev/{name}"
        try:
            if stat.S_ISBLK(os.stat(path).st_mode):
                os.close(os.open(path, os.O_RDONLY))
                return path
        except OSError as error:
            failed.append(str(error))
    raise Blocked(", ".join(failed[:3]) or "there is none")


def make_device():
    failed = []
    for folder in [".", "/tmp", "/dev", "/dev/shm"]:
        path = f"{folder}/forge-device-{os.getpid()}"
        try:
            os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 11))
        except OSError as error:
            failed.append(str(error))
            continue
        try:
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
            return path
        except OSError as error:
            failed.append(str(error))
        finally:
            os.unlink(path)
    raise Blocked(", ".join(failed))


def open_accelerators():
    for path in ["/dev/kvm", "/dev/net/tun", "/dev/fuse", "/dev/vhost-vsock", "/dev/loop-control"]:
        try:
            os.close(os.open(path, os.O_RDWR))
            return path
        except OSError:
            pass
    raise Blocked("none of them")


def add_to_keyring():
    # The user's own keyring, which all processes of the user share.
    return call(number(248, 217), b"user", b"forge-probe", b"secret", 6, -4)


def read_keyring():
    return call(number(250, 219), 0, -4, 1)


def io_uring():
    parameters = ctypes.create_string_buffer(120)
    return call(425, 4, parameters)


def bpf():
    attributes = (ctypes.c_uint32 * 32)(2, 4, 8, 1)
    return call(number(321, 280), 0, attributes, 48)


def perf_event():
    attributes = (ctypes.c_uint32 * 32)(1, 128)
    attributes[10] = 1 << 5 | 1 << 6
    return call(number(298, 241), attributes, 0, -1, -1, 0)


def userfaultfd():
    return call(number(323, 282), 1)


def calls_of_32_bits():
    """A filter that looks at numbers only would let other numbers through."""
    if not X86:
        raise Blocked("not on this machine")
    memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    # getpid, by its number of 32 bits: mov eax, 20; int 0x80; ret
    memory.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")
    function = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(memory)))
    if function() != os.getpid():
        raise Blocked("no such calls")
    return "they are not filtered"


def calls_of_x32():
    if not X86:
        raise Blocked("not on this machine")
    # The keyring's.
    return call(0x40000000 | 248, b"user", b"forge-probe", b"secret", 6, -4)


def open_by_handle():
    handle = ctypes.create_string_buffer(128)
    ctypes.c_uint32.from_buffer(handle).value = 120
    mount = ctypes.c_int()
    checked(LIBC.name_to_handle_at(-100, b".", handle, ctypes.byref(mount), 0))
    here = os.open(".", os.O_RDONLY)
    return checked(LIBC.open_by_handle_at(here, handle, os.O_RDONLY))


def change_personality():
    return call(number(135, 92), 0x0040000)


def set_host_name():
    name = os.uname().nodename.encode()
    checked(LIBC.sethostname(name, len(name)))
    return name


def set_clock():
    # Only asked whether it would be allowed: there is no such clock.
    try:
        call(number(227, 112), 0, (ctypes.c_long * 2)(-1, -1))
    except OSError as error:
        if error.errno == 22:
            return "would be allowed"
        raise


def load_module():
    try:
        call(number(175, 105), b"", 0, b"")
    except OSError as error:
        if error.errno in (8, 14, 22):
            return "would be allowed"
        raise


def restart_machine():
    try:
        # Not the numbers that it wants to hear.
        call(number(169, 142), 0, 0, 0, 0)
    except OSError as error:
        if error.errno == 22:
            return "would be allowed"
        raise


def protect_from_oom_killer():
    with open("/proc/self/oom_score_adj", "w", encoding="utf-8") as file:
        file.write("-900")
    return "protected"


def lower_claim():
    """Others of the same user would go first."""
    with open("/proc/self/oom_score_adj", "r+", encoding="utf-8") as file:
        there = int(file.read())
        file.seek(0)
        file.write(str(there - 1))
    return "one less"


def secret_memory():
    return call(447, 0)


def huge_pages():
    return os.memfd_create("x", 4)


def messages():
    return checked(LIBC.msgget(0, 0o1600))


def give_pages_to_pipe():
    reader, writer = os.pipe()
    page = ctypes.create_string_buffer(4096)
    vector = (ctypes.c_ulong * 2)(ctypes.addressof(page), 4096)
    return call(number(278, 75), writer, vector, 1, 0), reader


def use_up_asynchronous():
    context = (ctypes.c_ulong * 1)(0)
    return call(number(206, 0), 8, context)


def many_semaphores():
    return checked(LIBC.semget(0, 1000, 0o1600))


def watch_whole_systems():
    return call(number(300, 262), 0x200, 0)


def use_up_watches():
    held, why = [], "none"
    try:
        while len(held) < 900:
            held.append(checked(LIBC.inotify_init1(0)))
    except OSError as error:
        why = str(error)
    if answer(neighbour("quotas"))["watches"]:
        raise Blocked(f"{why} after {len(held)}")
    return f"none left after {len(held)}"


def use_up_signals():
    import signal

    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGRTMIN + 3])
    count = 0
    while count < 300000 and LIBC.sigqueue(os.getpid(), signal.SIGRTMIN + 3, None) == 0:
        count += 1
    if answer(neighbour("quotas"))["signals"]:
        raise Blocked(f"no more after {count}")
    return f"none left after {count}"


def use_up_terminals():
    held = []
    try:
        while len(held) < 100:
            held.append(os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY))
    except OSError as error:
        raise Blocked(f"{error} after {len(held)}") from error
    return f"{len(held)} terminals"


def raise_limits():
    import resource

    names = {"RLIMIT_NPROC", "RLIMIT_DATA", "RLIMIT_FSIZE", "RLIMIT_NOFILE", "RLIMIT_CORE"}
    for name in sorted(names):
        limit = getattr(resource, name)
        hard = resource.getrlimit(limit)[1]
        if hard == resource.RLIM_INFINITY:
            return f"{name} has no limit"
        try:
            resource.setrlimit(limit, (hard, hard + 1))
            return f"{name} raised"
        except (OSError, ValueError):
            pass
    raise Blocked("none of them")


def go_first():
    os.setpriority(os.PRIO_PROCESS, 0, -5)
    return "goes before other programs"


def attach_shared_memory():
    segment = checked(LIBC.shmget(config()["shared"], 0, 0))
    LIBC.shmat.restype = ctypes.c_long
    checked(LIBC.shmat(segment, None, 0))
    return "attached"


def open_message_queue():
    return checked(LIBC.mq_open(config()["queue"].encode(), os.O_RDWR))


def leave_shared_memory():
    segment = checked(LIBC.shmget(0, 4096, 0o1600))
    LIBC.shmctl(segment, 0, None)
    if os.readlink("/proc/self/ns/ipc") != config()["ipc"]:
        raise Blocked("it goes with the sandbox")
    return "made a segment that outlives it"


PROBES = [
    mount_filesystem,
    remount_writable,
    unmount,
    mount_by_descriptor,
    clone_mounts,
    new_user_namespace,
    new_namespaces_by_clone,
    new_namespaces_by_clone3,
    new_mount_namespace,
    enter_namespace,
    change_root,
    become_root,
    capabilities,
    write_core_pattern,
    write_sysrq,
    write_sysfs,
    read_kernel_memory,
    read_kernel_log,
    open_disk,
    make_device,
    open_accelerators,
    add_to_keyring,
    read_keyring,
    io_uring,
    bpf,
    perf_event,
    userfaultfd,
    calls_of_32_bits,
    calls_of_x32,
    open_by_handle,
    change_personality,
    set_host_name,
    set_clock,
    load_module,
    restart_machine,
    protect_from_oom_killer,
    lower_claim,
    secret_memory,
    huge_pages,
    messages,
    give_pages_to_pipe,
    use_up_asynchronous,
    many_semaphores,
    watch_whole_systems,
    use_up_watches,
    use_up_signals,
    use_up_terminals,
    raise_limits,
    go_first,
    attach_shared_memory,
    open_message_queue,
    leave_shared_memory,
]
