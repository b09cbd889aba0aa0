"""Parse and check the addresses of the services that we depend on, before anything connects.

Every function raises ValueError. Its message shows no value: an address may hold a password.
"""

import ssl
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

SSL_MODES = ("disable", "prefer", "require", "verify-ca", "verify-full")


@dataclass(frozen=True)
class DatabaseAddress:
    """The parts of a libpq URL."""

    user: str
    password: str | None
    database: str
    host: str
    """A host name or an address. The directory of a Unix socket begins with a slash."""
    port: int
    ssl_mode: str
    ssl_root_certificate: str | None

    @property
    def socket_path(self) -> str | None:
        return f"{self.host}/.s.PGSQL.{self.port}" if self.host.startswith("/") else None

    def __str__(self) -> str:
        """Name the database, without credentials."""
        return f"the database {self.database} on {self.socket_path or f'{self.host}:{self.port}'}"


def read_database_url(url: str) -> DatabaseAddress:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = SplitResult("", "", "", "", ""), None
    if parts.scheme not in ("postgresql", "postgres") or len(parts.path) < 2:
        raise ValueError("must look like postgresql://user:password@host:5432/name")
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    mode = query.get("sslmode", "prefer")
    if mode not in SSL_MODES:
        raise ValueError(f"sslmode must be one of {', '.join(SSL_MODES)}")
    certificate = query.get("sslrootcert")
    if certificate == "system":  # libpq's name for the system's authorities
        certificate = None
    if certificate:
        check_certificates(certificate)
    return DatabaseAddress(
        user=unquote(parts.username or "postgres"),
        password=unquote(parts.password) if parts.password else None,
        database=unquote(parts.path[1:]),
        host=parts.hostname or query.get("host") or "127.0.0.1",
        port=port or 5432,
        ssl_mode=mode,
        ssl_root_certificate=certificate,
    )


def check_http_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        complete = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        complete = False
    if not complete or parts.username or parts.query or parts.fragment:
        raise ValueError("must look like https://host or http://host:9000, without credentials")
    return url


def check_servers(servers: str) -> str:
    """Check Kafka's bootstrap servers."""
    try:
        complete = all(urlsplit(f"//{each.strip()}").hostname and _port(each) for each in servers.split(","))
    except ValueError:
        complete = False
    if not complete or "/" in servers:
        raise ValueError("must look like host:9092,other:9092")
    return servers


def _port(server: str) -> int:
    return urlsplit(f"//{server.strip()}").port or 9092


def check_certificates(path: str) -> str:
    """Check a file of authorities to trust."""
    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:
        reason = "there is no such file" if not Path(path).exists() else f"{error.strerror or error}"
        raise ValueError(f"must name a PEM file of certificates: {reason}") from error
    return path


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is this machine's own, which no other machine reaches."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
