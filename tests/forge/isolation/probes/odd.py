"""A candidate that leaves no ordinary artifacts."""

import os
import socket
import stat
import sys

from common import config


def make(what, *arguments):
    try:
        what(*arguments)
    except OSError as error:
        print(what.__name__, error)


secret = config()["elsewhere"] + "/secret"
os.symlink(secret, sys.argv[2])
os.chdir(os.environ["FORGE_ARTIFACTS"])
make(os.symlink, secret, "link.txt")
make(os.symlink, "/", "root")
make(os.symlink, f"/proc/{config()['pid']}/environ", "environ.txt")
make(os.symlink, config()["elsewhere"], "folder.txt")
make(os.mkfifo, "pipe.txt")
make(os.mknod, "device.txt", stat.S_IFCHR | 0o666, os.makedev(1, 5))
make(os.mknod, "disk.txt", stat.S_IFBLK | 0o666, os.makedev(254, 0))
make(socket.socket(socket.AF_UNIX).bind, "socket.txt") if config()["sockets"] else None
with open("sparse.txt", "wb") as sparse:
    for size in [64 << 20, 10 << 30]:
        make(os.truncate, sparse.fileno(), size)
os.makedirs("closed/in")
with open("closed/in/deep.txt", "w", encoding="utf-8") as deep:
    deep.write("deep\n")
with open("closed.txt", "w", encoding="utf-8") as closed:
    closed.write("closed\n")
os.chmod("closed.txt", 0)
os.chmod("closed", 0)
with open("good.txt", "w", encoding="utf-8") as good:
    good.write("good\n")
