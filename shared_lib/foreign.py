"""Fetch foreign images by URL, and nothing else: no address inside our network, whatever a URL or a name leads to.

A host is resolved once. Each of its addresses is checked, and the connection goes to one that was checked. So a name
that means another address a moment later leads nowhere. The same holds for each redirect.
"""

import re
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import quote, unquote, urljoin

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from shared_lib.errors import NotFound, Unavailable

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

SECONDS = 10.0
"""For all redirects, to the last byte."""
_REDIRECTS = 3
_PIECE = 64 * 1024  # bytes
_MOST_CHARACTERS = 2048
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9](?:[a-z0-9.-]{0,252}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])"
    r"(?::(?P<port>\d{1,5}))?(?P<path>/[^\x00-\x1f\x7f]*)?",
    re.IGNORECASE | re.ASCII,
)
_VISIBLE = "".join(map(chr, range(ord("!"), ord("~") + 1)))
_REFUSED = tuple(
    map(
        ip_network,
        (
            "::/96",  # IPv4-compatible
            "::ffff:0:0/96",  # IPv4-mapped
            "::ffff:0:0:0/96",  # IPv4-translated
            "64:ff9b::/96",  # NAT64
            "64:ff9b:1::/48",  # NAT64 of a network's own
            "100::/64",  # discarded
            "2001::/23",  # Teredo, ORCHID and other special purposes
            "2002::/16",  # 6to4
            "3fff::/20",  # documentation
            "5f00::/16",  # segment routing
            "fec0::/10",  # site-local
            "192.0.0.0/24",  # special purposes
            "192.88.99.0/24",  # 6to4 relays
            "168.63.129.16/32",  # Azure's own services, on a public address
            "100.100.100.200/32",  # Alibaba's metadata
        ),
    )
)


# The names in a query that presign it. They change with every signature, and the file stays the same.
_PRESIGNING: tuple[tuple[str, re.Pattern[str]], ...] = (
    (
        "x-amz-signature",
        re.compile(r"x-amz-(?:algorithm|credential|date|expires|security-token|signature|signedheaders)"),
    ),
    ("x-goog-signature", re.compile(r"x-goog-(?:algorithm|credential|date|expires|signature|signedheaders)")),
    ("x-oss-signature", re.compile(r"x-oss-(?:credential|date|expires|security-token|signature|signature-version)")),
    ("key-pair-id", re.compile("expires|policy|signature|key-pair-id|hash-algorithm")),  # CloudFront
    ("awsaccesskeyid", re.compile("awsaccesskeyid|expires|signature|x-amz-security-token")),
    ("googleaccessid", re.compile("googleaccessid|expires|signature")),
    ("sig", re.compile("s(?:ig|v|s|rt|r|p|e|t|pr|ip|koid|ktid|kt|ke|ks|kv|dd|i)")),  # Azure
)


def identify(url: str) -> str:
    """Return the URL without what presigns it: the name of its file, however often it is signed anew."""
    path, question, query = url.partition("?")
    fields = [(unquote(each.partition("=")[0]).lower(), each) for each in query.split("&")]
    names = {name for name, _ in fields}
    for sign, presigning in _PRESIGNING:
        if sign in names:
            fields = [(name, each) for name, each in fields if not presigning.fullmatch(name)]
    kept = "&".join(each for _, each in fields)
    return f"{path}{question}{kept}" if kept or not names - {""} else path


@dataclass(frozen=True, slots=True)
class Validators:
    """A server's description of its file, by which it can be asked whether that has changed."""

    etag: str | None = None
    last_modified: str | None = None


@dataclass(frozen=True, slots=True)
class ForeignFile:
    data: bytes
    validators: Validators


@dataclass(frozen=True, slots=True)
class _Target:
    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        return self.host if self.port == _PORTS[self.scheme] else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"


_PORTS = {"http": 80, "https": 443}


def resolve(host: str, port: int) -> list[str]:
    """Return all addresses of a host. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(each[4][0]).partition("%")[0] for each in found))


@dataclass(frozen=True)
class ForeignSources:
    prefixes: Sequence[str]
    """Prefixes of URLs, such as `https://images.example.com/`. A host may begin with `*.`, or be `*`."""
    networks: Sequence[Network]
    """Private ones that may be reached all the same."""
    max_bytes: int
    resolve: Callable[[str, int], list[str]] = resolve
    seconds: float = SECONDS

    def check(self, url: str) -> str:
        """Return the URL in its canonical form. Raises NotFound if it is not allowed.

        One without a scheme, which begins with `//`, means `http` if that is allowed, and `https` otherwise.
        """
        if url.startswith("//"):
            with suppress(NotFound):
                return self._read(f"http:{url}").url
            url = f"https:{url}"
        return self._read(url).url

    def fetch(self, url: str, known: Validators) -> ForeignFile | None:
        """Return the file, or None if it has not changed.

        Raises NotFound if there is none or it may not be fetched, and Unavailable if the server can't be reached.
        """
        until = time.monotonic() + self.seconds
        for _ in range(_REDIRECTS + 1):
            target = self._read(url)
            found = self._request(target, known, until)
            if not isinstance(found, str):
                return found
            url = urljoin(target.url, found)
        raise _refuse("The image's server redirects too often")

    def _read(self, url: str) -> _Target:
        parts = _URL.fullmatch(url) if len(url) <= _MOST_CHARACTERS else None
        if parts is None:
            raise _refuse("The URL of the foreign image is not http://host/path or https://host/path")
        scheme, host = parts["scheme"].lower(), parts["host"].lower()
        # As browsers do: a space and what is not ASCII are encoded, and what is encoded already stays so.
        path = quote(parts["path"] or "/", safe=_VISIBLE, errors="replace")
        target = _Target(scheme, host, int(parts["port"] or _PORTS[scheme]), path)
        if not 0 < target.port < 2**16 or not any(_begins(target, prefix) for prefix in self.prefixes):
            raise _refuse("Images of this server are not allowed")
        return target

    def _request(self, target: _Target, known: Validators, until: float) -> ForeignFile | str | None:
        """Return the file, where it is instead, or None if it has not changed."""
        address = self._choose_address(target)
        left = until - time.monotonic()
        if left <= 0:
            raise Unavailable("The image's server takes too long", code="source_unreachable")
        if target.scheme == "https":
            connection: HTTPConnection = HTTPSConnection(
                address,
                target.port,
                timeout=left,
                server_hostname=target.host.strip("[]"),
                assert_hostname=target.host.strip("[]"),
                cert_reqs="CERT_REQUIRED",
            )
        else:
            connection = HTTPConnection(address, target.port, timeout=left)
        # Each read has its own timeout. A server that sends a byte at a time is stopped by this.
        # http.client forgets the socket of a response that ends with the connection, so it is kept here.
        sockets: list[socket.socket] = []
        watch = threading.Timer(left, _break_off, [connection, sockets])
        watch.daemon = True
        watch.start()
        try:
            with closing(connection):
                connection.connect()
                sockets += [connection.sock] if connection.sock else []
                found = self._exchange(connection, target, known)
                if time.monotonic() >= until:  # what was read may end where the connection was broken off
                    raise TimeoutError
                return found
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise Unavailable("The image's server can't be reached", code="source_unreachable") from error
        finally:
            watch.cancel()

    def _choose_address(self, target: _Target) -> str:
        """Resolve the host once. If any of its addresses may not be reached, none is."""
        try:
            found = self.resolve(target.host.strip("[]"), target.port)
            addresses = [ip_address(each) for each in found]
        except (OSError, ValueError) as error:
            raise NotFound("The image's server has no address", code="source_unreachable") from error
        if not addresses or not all(map(self._is_allowed, addresses)):
            raise _refuse("The image's server has an address that may not be reached")
        return f"{addresses[0]}"

    def _is_allowed(self, address: Address) -> bool:
        if any(address in network for network in self.networks):
            return True
        return (
            address.is_global
            and not address.is_multicast
            and not _is_tunneled(address)
            and not any(address in each for each in _REFUSED)
        )

    def _exchange(self, connection: HTTPConnection, target: _Target, known: Validators) -> ForeignFile | str | None:
        headers = {"Host": target.authority, "Accept": "image/*,*/*;q=0.1", "Accept-Encoding": "identity"}
        if known.etag:
            headers["If-None-Match"] = known.etag
        if known.last_modified:
            headers["If-Modified-Since"] = known.last_modified
        connection.request("GET", target.path, headers=headers, preload_content=False, decode_content=False)
        with closing(connection.getresponse()) as response:
            return self._read_response(response, known)

    def _read_response(self, response: urllib3.BaseHTTPResponse, known: Validators) -> ForeignFile | str | None:
        if response.status == 304 and (known.etag or known.last_modified):
            return None
        if response.status in (301, 302, 303, 307, 308) and (location := response.headers.get("Location")):
            return location
        if response.status != 200:
            raise NotFound(f"The image's server responds with {response.status}", code="source_unreachable")
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise NotFound("The image's server compresses what it sends", code="source_unreachable")
        validators = Validators(*(_keep(response.headers.get(name)) for name in ("ETag", "Last-Modified")))
        return ForeignFile(self._read_body(response), validators)

    def _read_body(self, response: urllib3.BaseHTTPResponse) -> bytes:
        data = bytearray()
        while piece := response.read(_PIECE):
            data += piece
            if len(data) > self.max_bytes:
                raise NotFound("The foreign image is too large", code="source_too_large")
        announced = response.headers.get("Content-Length")
        if announced is not None and announced.isdecimal() and int(announced) != len(data):
            raise OSError("the response broke off")
        return bytes(data)


def _is_tunneled(address: Address) -> bool:
    """Return whether it is an ISATAP address, which leads to the IPv4 address in it, whatever its prefix is."""
    return address.version == 6 and int(address) >> 32 & 0xFDFFFFFF == 0x00005EFE


def _begins(target: _Target, prefix: str) -> bool:
    scheme, _, rest = prefix.partition("://")
    host, _, path = rest.partition("/")
    host = host.lower()
    if host == "*":
        is_host = True
    elif host.startswith("*."):
        is_host = target.authority.endswith(host[1:])
    else:
        is_host = target.authority == host
    steps = re.split(r"/|%2f|\\", target.path, flags=re.IGNORECASE)
    has_dots = any(re.fullmatch(r"(\.|%2e){1,2}", step, re.IGNORECASE) for step in steps)
    return scheme.lower() == target.scheme and is_host and target.path.startswith(f"/{path}") and not has_dots


def _keep(value: str | None) -> str | None:
    return value if value and len(value) <= 256 and value.isprintable() else None


def _refuse(reason: str) -> NotFound:
    return NotFound(reason, code="source_not_allowed")


def _break_off(connection: HTTPConnection, sockets: list[socket.socket]) -> None:
    for each in (connection.sock, *sockets):
        with suppress(OSError):
            if each is not None:
                each.shutdown(socket.SHUT_RDWR)
