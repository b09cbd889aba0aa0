"""Choose free ports, and check which ports respond."""

import http.client
import itertools
import random
import socket
import sys

LOOPBACK = "127.0.0.1"
ANSWER_SECONDS = 10.0

_CHOICE = range(10_000, 32_768)

_reserved: set[int] = set()
"""Ports that this process has chosen. Their servers may not have started yet."""


def reserve(port: int) -> bool:
    """Keep every process from choosing a port, until this one ends. Return False if it is in use.

    On Linux, a server that sets SO_REUSEADDR, as all of ours do, can still listen there: the socket that is bound does
    not listen (socket(7)). Elsewhere only this process does not choose it again.
    """
    holder = socket.socket()
    try:
        holder.bind((LOOPBACK, port))
    except (OSError, OverflowError):  # in use, or not a port number
        holder.close()
        return False
    if sys.platform == "linux":
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # not before: others could bind it, too
        holder.detach()  # open until the process ends
    else:
        holder.close()
    _reserved.add(port)
    return True


def try_binding(port: int, host: str) -> None:
    """Raise OSError if a server could not listen there."""
    with socket.socket() as candidate:
        # Like servers do: a port in TIME_WAIT counts as free.
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        candidate.bind((host, port))


def is_free(port: int) -> bool:
    try:
        try_binding(port, LOOPBACK)
    except (OSError, OverflowError):  # in use, or not a port number
        return False
    return True


def free_ports(count: int) -> list[int]:
    """Return `count` free ports, never the same one twice.

    Ports that the system uses for outgoing connections (from 32768 or 49152) are excluded: a connection could occupy
    one before its server starts.
    """
    candidates = (port for port in random.sample(_CHOICE, len(_CHOICE)) if port not in _reserved and reserve(port))
    return list(itertools.islice(candidates, count))


def find_own_address() -> str:
    """Return this machine's address on the network, or loopback without a network."""
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # a reserved address: this sends nothing, and only selects the interface
        except OSError:
            return LOOPBACK
        address: str = probe.getsockname()[0]
        return address


def accepts(port: int) -> bool:
    try:
        socket.create_connection((LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True


def find_fault(port: int, host: str = LOOPBACK, path: str = "/") -> str | None:
    """Return what does not work of a server that has had time to load."""
    return None if responds_to_http(port, host, path, ANSWER_SECONDS) else "it does not answer"


def responds_to_http(port: int, host: str = LOOPBACK, path: str = "/", timeout_seconds: float = 1.0) -> bool:
    """Return whether the server responds, with any status. A server that only listens may still be loading."""
    connection = http.client.HTTPConnection(host, port, timeout=timeout_seconds)
    try:
        connection.request("GET", path)
        connection.getresponse().read()  # otherwise the server's connection is reset
    except OSError:
        return False
    except http.client.HTTPException:
        return False
    finally:
        connection.close()
    return True
