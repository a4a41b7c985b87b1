"""What listens outside."""

import socket

from common import Blocked, config


def hear(connection, expected=b"hi\n"):
    connection.settimeout(5)
    if connection.recv(100) != expected:
        raise Blocked("no answer")
    return "it answered"


def connect_tcp():
    with socket.create_connection(("127.0.0.1", config()["tcp"]), timeout=5) as connection:
        connection.sendall(b"hello probe\n")
        return hear(connection)


def connect_udp():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
        connection.sendto(b"ping", ("127.0.0.1", config()["udp"]))
        return hear(connection, b"ping")


def connect_unix():
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(config()["unix"])
        return hear(connection)


def send_unix():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
        connection.sendto(b"a datagram", config()["datagrams"])
        return "sent"


def send_unix_through_pair():
    """As a logger listens; a pair needs no permission to make a socket."""
    one, _other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    one.sendto(b"a datagram through a pair", config()["datagrams"])
    return "sent"


def connect_pair():
    one, _other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    one.connect(config()["datagrams"])
    return "connected"


def connect_abstract():
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect("\0" + config()["abstract"])
        return hear(connection)


def connect_vsock():
    with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM):
        return "made a socket to the host of this machine"


def listen_to_packets():
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)):
        return "made a socket"


def send_raw():
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP):
        return "made a socket"


def ask_kernel_for_ciphers():
    with socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET):
        return "made a socket"


PROBES = [
    connect_tcp,
    connect_udp,
    connect_unix,
    send_unix,
    send_unix_through_pair,
    connect_pair,
    connect_abstract,
    connect_vsock,
    listen_to_packets,
    send_raw,
    ask_kernel_for_ciphers,
]
