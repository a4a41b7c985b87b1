"""A candidate whose workers share what it has: 600 MB, counted once, below a limit of 2 GiB."""

import os
import sys
import time

held = bytearray(600_000_000)
held[::4096] = b"x" * len(range(0, len(held), 4096))
workers = []
for _ in range(6):
    worker = os.fork()
    if worker == 0:
        # Read, not written.
        total = held.count(b"x")
        time.sleep(0.8)
        os._exit(0 if total else 1)
    workers.append(worker)
good = all(os.waitpid(worker, 0)[1] == 0 for worker in workers)
with open(sys.argv[2], "w", encoding="utf-8") as out:
    print("forked", "OPEN" if good else "BLOCKED", "six workers", sep="\t", file=out)
