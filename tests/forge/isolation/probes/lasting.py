"""Candidates that want to outlive their trial, each by its own name. What they leave holds a connection to the
test, which sees when the last of them is gone.
"""

import os
import signal
import subprocess
import sys
import time

from common import neighbour

NAME = os.environ["FORGE_CANDIDATE"]
CONNECTION = neighbour(f"hello {NAME}")
CONNECTION.recv(1)
CONNECTION.set_inheritable(True)


def apart(then):
    """Runs something in a process that has nothing to do with this one any more."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            then()
            os._exit(0)
        os._exit(0)
    os.wait()


def linger():
    for number in range(1, 65):
        if number not in (signal.SIGKILL, signal.SIGSTOP, 32, 33):
            signal.signal(number, signal.SIG_IGN)
    os.chdir("/")
    time.sleep(300)


def without_environment():
    os.execve("/bin/sleep", ["sleep", "300"], {})


def chain():
    """Each link starts the next one, and ends."""
    while os.fork() == 0:
        os.setsid()
        time.sleep(0.002)
    os._exit(0)


def stopped():
    os.kill(os.getpid(), signal.SIGSTOP)


def many():
    for _ in range(30):
        if os.fork() == 0:
            os.setsid()
            time.sleep(300)


def holding_output():
    subprocess.Popen(["sh", "-c", "trap '' TERM HUP; sleep 300; sleep 300"])


KINDS = [linger, without_environment, chain, stopped, many, holding_output]

kind, _, end = NAME.rpartition("-")
apart(next(it for it in KINDS if it.__name__ == kind.replace("-", "_")))
# Long enough for a chain to be far away.
time.sleep(0.1)
with open(sys.argv[2], "w", encoding="utf-8") as out:
    out.write("written before the end\n")
if end == "limit":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(300)
