"""A process outside of all sandboxes, of the user that runs forge: what the probes try to reach.

Its first line on standard output tells where to reach it. It ends with its standard input. Over TCP it
takes a line: `hello NAME` is remembered until that connection ends, in all processes that have it.
"""

import ctypes
import json
import os
import signal
import socket
import sys
import threading

LIBC = ctypes.CDLL(None, use_errno=True)
IPC_CREAT, IPC_RMID = 0o1000, 0

secret, folder = sys.argv[1:]
needle = open(secret, encoding="utf-8").read().strip()
lock = threading.Condition()
seen, alive, sibling, released = {}, {}, [], threading.Event()
signals = []


def serve(connection):
    stream = connection.makefile("rw", encoding="utf-8")
    try:
        word, _, rest = stream.readline().strip().partition(" ")
    except OSError:
        return
    if word == "hello":
        with lock:
            seen[rest] = seen.get(rest, 0) + 1
            alive[rest] = alive.get(rest, 0) + 1
        try:
            connection.sendall(b"hi\n")
            # Until the last process that has the other end is gone.
            while connection.recv(100):
                pass
        except OSError:
            pass
        with lock:
            alive[rest] -= 1
    elif word == "sibling":
        with lock:
            sibling.append(json.loads(rest))
            lock.notify_all()
        released.wait(60)
    elif word == "ask":
        with lock:
            lock.wait_for(lambda: sibling, timeout=20)
            stream.write(json.dumps(sibling[0] if sibling else None))
    elif word == "quotas":
        stream.write(json.dumps(quotas()))
    elif word == "release":
        released.set()
    elif word == "report":
        with lock:
            left = {name: count for name, count in alive.items() if count}
            stream.write(json.dumps({"seen": seen, "alive": left, "signals": signals}))
    try:
        stream.close()
    except OSError:
        pass
    connection.close()


def quotas():
    """What this user still may have."""
    watch = LIBC.inotify_init1(0)
    if watch >= 0:
        os.close(watch)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGRTMIN + 4])
    target = ctypes.c_ulong(threading.get_ident())
    queued = LIBC.pthread_sigqueue(target, signal.SIGRTMIN + 4, None) == 0
    return {"watches": watch >= 0, "signals": queued}


def accept(listener, each):
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=each, args=(connection,), daemon=True).start()


def greet(connection):
    connection.sendall(b"hi\n")
    connection.close()


def echo(udp):
    while True:
        data, who = udp.recvfrom(100)
        udp.sendto(data, who)


def hear(listener):
    while True:
        name = listener.recv(100).decode(errors="replace")
        with lock:
            seen[name] = seen.get(name, 0) + 1


def start(target, *arguments):
    threading.Thread(target=target, args=arguments, daemon=True).start()


def main():
    signal.signal(signal.SIGUSR1, lambda *_: signals.append("USR1"))
    tcp = socket.create_server(("127.0.0.1", 0), backlog=200)
    start(accept, tcp, serve)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    start(echo, udp)
    path = os.path.join(folder, "neighbour.sock")
    abstract = f"forge-neighbour-{os.getpid()}"
    for address in [path, "\0" + abstract]:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(address)
        listener.listen(50)
        start(accept, listener, greet)
    os.chmod(path, 0o666)
    datagrams = os.path.join(folder, "datagrams.sock")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(datagrams)
    os.chmod(datagrams, 0o666)
    start(hear, listener)
    held = os.open(secret, os.O_RDONLY)
    memory = ctypes.create_string_buffer(needle.encode())
    key = 0x46000000 + os.getpid()
    shared = LIBC.shmget(key, 4096, IPC_CREAT | 0o666)
    queue = f"/forge-neighbour-{os.getpid()}".encode()
    LIBC.mq_open(queue, os.O_CREAT | os.O_RDWR, 0o666, None)
    told = {
        "pid": os.getpid(),
        "tcp": tcp.getsockname()[1],
        "udp": udp.getsockname()[1],
        "unix": path,
        "datagrams": datagrams,
        "abstract": abstract,
        "held": held,
        "address": ctypes.addressof(memory),
        "shared": key,
        "queue": queue.decode(),
    }
    print(json.dumps(told), flush=True)
    while True:
        try:
            if not sys.stdin.read(1):
                break
        except InterruptedError:
            pass
    LIBC.shmctl(shared, IPC_RMID, None)
    LIBC.mq_unlink(queue)


main()
