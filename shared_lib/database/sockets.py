"""Connect to the server: a TCP or Unix socket, TLS as the URL asks for, and time limits."""

import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import pg8000.dbapi
from pg8000.exceptions import DatabaseError, InterfaceError

from shared_lib.addresses import DatabaseAddress, read_database_url
from shared_lib.database.driver import PipelinedConnection
from shared_lib.database.migrations import find_newest_revision
from shared_lib.settings import Database as DatabaseSettings

_CLIENT_MARGIN = 1.0  # s that the client waits longer than the server, which ends a statement while it can

Opened = TypeVar("Opened")


def open_connection(settings: DatabaseSettings) -> PipelinedConnection:
    """Open a connection. Each wait for the server takes little longer than a statement may."""
    timeout = settings.statement_timeout_seconds + _CLIENT_MARGIN
    return _open(partial(PipelinedConnection, prepares=settings.prepare_statements), settings, timeout)


def open_for_migrations(settings: DatabaseSettings) -> pg8000.dbapi.Connection:
    """Open a DB-API connection, as Alembic needs it, without a limit on the time of its statements."""
    return _open(pg8000.dbapi.Connection, settings, None)


def _open(connect: Callable[..., Opened], settings: DatabaseSettings, timeout: float | None) -> Opened:
    """Open a connection with one of the driver's classes. Each later wait for the server takes at most `timeout` s.

    Raises InterfaceError if the server is out of reach, and DatabaseError with the reason if it refuses.
    """
    address = read_database_url(settings.url.get_secret_value())
    try:
        connected = _connect_socket(address, settings.connect_timeout_seconds, timeout)
    except OSError as error:
        raise InterfaceError("cannot connect") from error
    try:
        return connect(
            user=address.user,
            password=address.password,
            database=address.database,
            host=address.host,
            sock=connected,
            ssl_context=choose_encryption(address),
            application_name=f"image-processing {find_newest_revision()}",
        )
    except (InterfaceError, DatabaseError, OSError) as error:
        connected.close()
        if reason := _find_server_error(error):
            raise reason from None
        if isinstance(error, OSError):  # the driver translates some
            raise InterfaceError("network error") from error
        raise


def _find_server_error(error: BaseException) -> DatabaseError | None:
    """Return the server's reason for closing, which the driver hides if saying goodbye fails, too."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, DatabaseError):
        found = found.__context__
    return found


def _connect_socket(address: DatabaseAddress, connect_timeout: float, timeout: float | None) -> socket.socket:
    if path := address.socket_path:
        connected = socket.socket(socket.AF_UNIX)
        connected.settimeout(connect_timeout)
        try:
            connected.connect(path)
        except OSError:
            connected.close()
            raise
    else:
        connected = socket.create_connection((address.host, address.port), connect_timeout)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connected.settimeout(timeout)
    return connected


def choose_encryption(address: DatabaseAddress) -> ssl.SSLContext | bool | None:
    """Return the driver's equivalent of libpq's sslmode. None means prefer."""
    if address.socket_path:
        return False
    if address.ssl_mode in ("verify-ca", "verify-full"):
        context = ssl.create_default_context(cafile=address.ssl_root_certificate)
        context.check_hostname = address.ssl_mode == "verify-full"
        return context
    return {"disable": False, "prefer": None, "require": True}[address.ssl_mode]
