"""A candidate that is there for another one to find."""

import json
import os
import sys

from common import neighbour

with open("mine", "w", encoding="utf-8") as mine:
    mine.write("mine")
told = {
    "pid": os.getpid(),
    "work": os.getcwd(),
    "namespace": os.readlink("/proc/self/ns/pid"),
}
try:
    # Until it is released.
    neighbour("sibling " + json.dumps(told), patience=60).recv(1)
except OSError:
    pass
with open(sys.argv[2], "w", encoding="utf-8") as out:
    out.write("still here, and planted" if os.path.exists("planted") else "still here, nothing more")
