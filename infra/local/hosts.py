"""Check the Host header, against DNS rebinding.

With AUTH_MODE=anonymous, whoever reaches the API may do everything. A web page must not reach it under a host name of
its own: the owner of a name can point it at this machine, and the browser would then treat the API as part of that
site.
"""

from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from infra.local.settings import Settings
from shared_lib.addresses import is_loopback
from shared_lib.server import is_direct

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


def is_local(environ: "WSGIEnvironment") -> bool:
    """Return whether a request was sent by this machine."""
    return is_loopback(environ.get("REMOTE_ADDR", ""))


def choose_scrapers(settings: Settings) -> "Callable[[WSGIEnvironment], bool]":
    """Return which requests may read metrics."""
    return is_direct if settings.metrics_for == "network" else is_local


class KnownHosts:
    """`localhost`, the addresses of this machine, and the given names."""

    def __init__(self, named: Iterable[str]) -> None:
        self._named = {name.lower() for name in named}

    def include(self, host: str, reached: str) -> bool:
        """Return whether a Host header is allowed. `reached` is the local address of the connection.

        A request without the header is allowed: browsers always send it.
        """
        name = read_name(host)
        if not host or name in self._named or name == "localhost" or name.endswith(".localhost"):
            return True
        address = _read_address(name)
        return address is not None and (address.is_loopback or address == _read_address(reached))


def read_name(host: str) -> str:
    """Return the name or address in a Host header, or an empty text for what is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _read_address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
