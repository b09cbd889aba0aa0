"""Under which names this machine's API answers.

It is open to whoever reaches it, so a web page must not reach it under a name of its own: the owner of a name may have
it lead to any address, and a browser takes what answers there for that name's (DNS rebinding).
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit


class KnownHosts:
    """`localhost`, the addresses of this machine, and whatever else is named."""

    def __init__(self, named: Iterable[str]) -> None:
        self._named = {name.lower() for name in named}

    def include(self, host: str, reached: str) -> bool:
        """
        Whether a request's Host is known. `reached` is the address that its connection came in on.

        A name without a Host is no browser's.
        """
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if not host or name in self._named or name == "localhost" or name.endswith(".localhost"):
            return True
        address = _read_address(name)
        return address is not None and (address.is_loopback or address == _read_address(reached))


def _read_address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
