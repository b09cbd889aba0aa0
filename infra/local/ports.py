"""Ports of this machine: which are free, and who answers."""

import http.client
import random
import socket

LOOPBACK = "127.0.0.1"

_CHOICE = range(10_000, 32_768)

_reserved: set[int] = set()
"""Ports that this process has chosen, whose servers may yet have to start."""


def reserve(port: int) -> None:
    """Let `free_ports` never give this one."""
    _reserved.add(port)


def try_binding(port: int, host: str) -> None:
    """Raise OSError if a server could not listen there."""
    with socket.socket() as candidate:
        # As servers do: a port that only lingers after its last owner counts as free.
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        candidate.bind((host, port))


def is_free(port: int) -> bool:
    try:
        try_binding(port, LOOPBACK)
    except (OSError, OverflowError):  # taken, or no port at all
        return False
    return True


def free_ports(count: int) -> list[int]:
    """So many different ones, and none that was given before.

    None that the system gives to outgoing connections either (from 32768 on, or 49152): one of those might take it
    before its server starts.
    """
    candidates = (port for port in random.sample(_CHOICE, len(_CHOICE)) if port not in _reserved and is_free(port))
    chosen = [next(candidates) for _ in range(count)]
    _reserved.update(chosen)
    return chosen


def find_own_address() -> str:
    """The address by which others on the network know this machine; loopback if there is no network."""
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: it only finds the way out. The address is nobody's
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


def answers_http(port: int, host: str = LOOPBACK, path: str = "/") -> bool:
    """Whether any answer comes, of whatever status: only then has a server loaded what it serves."""
    connection = http.client.HTTPConnection(host, port, timeout=1)
    try:
        connection.request("GET", path)
        connection.getresponse()
    except OSError:
        return False
    except http.client.HTTPException:
        return False
    finally:
        connection.close()
    return True
