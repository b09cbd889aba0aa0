"""The driver's and the server's errors, as the service's: an outage, wrong settings, or a violated constraint."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from pg8000.exceptions import DatabaseError, InterfaceError

from shared_lib.errors import Misconfigured, Unavailable

DATABASE = "The database"
STILL_REFERENCED = ("23503", "23001")  # foreign_key_violation; restrict_violation since PostgreSQL 18
_CANCELED = "57014"
# Classes 08 connection, 53 resources, 57 operator intervention, 58 system error; 40 rolled back, may be retried;
# 25P03 idle timeout, 25006 read-only, as a standby is before it takes over.
_TRANSIENT = ("08", "53", "57", "58", "25P03", "25006", "40")
# Class 28 and 42501: role, password, rights; 3D000: no such database; 3F000, 42P01, 42703: schema, table or column
# missing, because the migrations have not run; 26000 and 42P05: a pooler mixes up prepared statements, so
# DATABASE_PREPARE_STATEMENTS must be false.
_WRONG_SETTINGS = ("28", "3D000", "42501", "3F000", "42P01", "42703", "26000", "42P05")


class PostgresError(Exception):
    """The server's SQLSTATE and message, without the details, which quote a row's contents."""


class ConstraintViolated(Exception):
    """A statement violated a constraint."""

    def __init__(self, sqlstate: str, constraint: str) -> None:
        super().__init__(f"{constraint} ({sqlstate})")
        self.sqlstate = sqlstate
        self.constraint = constraint


@contextmanager
def translating() -> Iterator[None]:
    """Translate the driver's errors into the service's.

    An InterfaceError means that a connection was lost, or never made. An OSError may come from anywhere, and stays.
    """
    try:
        yield
    except InterfaceError as error:
        if _is_tls_mismatch(error):
            raise Misconfigured(DATABASE) from error
        raise Unavailable("The database is out of reach") from error
    except DatabaseError as error:
        report = _read_report(error)
        translated = _translate(report.get("C", ""), report.get("n", ""))
        if translated is None:
            raise
        raise translated from PostgresError(f"{report.get('C', '')} {report.get('M', error)}".lstrip())


def _read_report(error: DatabaseError) -> dict[str, str]:
    """Return the fields of the server's error message."""
    return error.args[0] if error.args and isinstance(error.args[0], dict) else {}


def has_ended(error: BaseException) -> bool:
    """Return whether an error has ended its connection, rather than a statement."""
    return not isinstance(error, DatabaseError) or _read_report(error).get("V") in {
        "FATAL",
        "PANIC",
    }


def _is_tls_mismatch(error: InterfaceError) -> bool:
    """Return whether the sides disagree on TLS, or one distrusts the other. A connection that just ended is neither."""
    if isinstance(error.__cause__, ssl.SSLError):
        return not isinstance(error.__cause__, ssl.SSLEOFError | ssl.SSLZeroReturnError)
    return "refuses SSL" in str(error)  # pg8000 raises no specific error


def _translate(sqlstate: str, constraint: str) -> Exception | None:
    """Return the service's error for a server's error, or None for a bug in a statement."""
    if sqlstate.startswith("23"):
        return ConstraintViolated(sqlstate, constraint)
    if sqlstate == _CANCELED:
        return Unavailable("The database took too long to answer: ask for less at once, or try again later")
    if sqlstate.startswith(_WRONG_SETTINGS):
        return Misconfigured(DATABASE)
    if sqlstate.startswith(_TRANSIENT) or not sqlstate:
        return Unavailable("The database cannot answer now")
    return None
