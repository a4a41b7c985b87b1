"""Other people's files."""

import array
import errno
import fcntl
import os

from common import LIBC, Blocked, checked, config


def has_secret(text):
    return config()["needle"][::-1] in text


def read(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        if not has_secret(file.read()):
            raise Blocked("it is another file")
    return f"read {path}"


def read_home():
    return read(config()["home"] + "/.ssh/id_ed25519")


def read_project():
    return read(config()["project"] + "/private.txt")


def read_elsewhere():
    return read(config()["elsewhere"] + "/secret")


def read_etc_shadow():
    with open("/etc/shadow", encoding="utf-8") as file:
        return f"{len(file.read())} characters"


def link_to_secret():
    os.link(config()["elsewhere"] + "/secret", "stolen")
    return read("stolen")


def list_home():
    return os.listdir(config()["home"])


def stat_file():
    return os.stat(config()["elsewhere"] + "/secret").st_size


def watch_files():
    inotify = checked(LIBC.inotify_init1(0))
    return checked(LIBC.inotify_add_watch(inotify, config()["elsewhere"].encode(), 0xFFF))


def write_project():
    return plant(config()["project"])


def write_candidate():
    with open(config()["project"] + "/candidates/other.py", "a", encoding="utf-8"):
        return "opened for writing"


def write_elsewhere():
    return plant(config()["elsewhere"])


def remove_elsewhere():
    os.unlink(config()["elsewhere"] + "/removable-" + config()["objective"])
    return "removed"


def rename_elsewhere():
    os.rename(config()["elsewhere"] + "/movable-" + config()["objective"], "moved")
    return "moved it here"


def write_interpreter():
    for name in ["/usr/lib/forge-probe", "/usr/bin/forge-probe", "/etc/forge-probe"]:
        with open(name, "w", encoding="utf-8"):
            os.unlink(name)
            return name


def change_mode():
    os.chmod(config()["elsewhere"] + "/secret", 0o640)
    return "changed the mode"


def change_time():
    os.utime(config()["elsewhere"] + "/secret", (1, 1))
    return "changed the time"


def change_attribute():
    os.setxattr(config()["elsewhere"] + "/secret", "user.forge", b"x")
    return "set an attribute"


def change_mode_by_link():
    os.symlink(config()["elsewhere"] + "/secret", "way-to-secret")
    os.chmod("way-to-secret", 0o640)
    return "changed the mode"


def change_mode_by_descriptor():
    descriptor = os.open(config()["elsewhere"] + "/secret", os.O_PATH)
    os.chmod(f"/proc/self/fd/{descriptor}", 0o640)
    return "changed the mode"


def change_mode_by_folder():
    folder = os.open(config()["elsewhere"], os.O_PATH)
    os.chmod("secret", 0o640, dir_fd=folder)
    return "changed the mode"


def change_mode_from_within():
    os.chdir(config()["elsewhere"])
    os.chmod("secret", 0o640)
    return "changed the mode"


def change_time_of_link():
    checked(LIBC.lutimes((config()["elsewhere"] + "/secret").encode(), None))
    return "changed the time"


def change_owner():
    os.chown(config()["elsewhere"] + "/secret", os.getuid(), -1)
    return "changed the owner"


def remove_attribute():
    path = config()["elsewhere"] + "/secret"
    try:
        os.removexattr(path, "user.no-such")
    except OSError as error:
        if error.errno != errno.ENODATA:
            raise
    return "would have removed an attribute"


def change_flags():
    # Readable on each level.
    path = os.__file__
    descriptor = os.open(path, os.O_RDONLY)
    flags = array.array("l", [0])
    fcntl.ioctl(descriptor, 0x80086601, flags, True)
    fcntl.ioctl(descriptor, 0x40086602, flags)
    return "changed the flags"


# Whether these arrive is seen outside: a sandbox may have a folder of its own there.
def plant(folder):
    path = f"{folder}/{config()['mark']}-{config()['objective']}"
    with open(path, "w", encoding="utf-8"):
        return f"made {path}"


def plant_in_tmp():
    return plant("/tmp")


def plant_in_var_tmp():
    return plant("/var/tmp")


def plant_in_shared_memory():
    return plant("/dev/shm")


PROBES = [
    read_home,
    read_project,
    read_elsewhere,
    read_etc_shadow,
    link_to_secret,
    list_home,
    stat_file,
    watch_files,
    write_project,
    write_candidate,
    write_elsewhere,
    remove_elsewhere,
    rename_elsewhere,
    write_interpreter,
    change_mode,
    change_time,
    change_attribute,
    change_mode_by_link,
    change_mode_by_descriptor,
    change_mode_by_folder,
    change_mode_from_within,
    change_time_of_link,
    change_owner,
    remove_attribute,
    change_flags,
    plant_in_tmp,
    plant_in_var_tmp,
    plant_in_shared_memory,
]
