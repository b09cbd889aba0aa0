"""Authenticate and authorize requests: the one place that decides who may use an endpoint.

Every endpoint declares an `Access`. All of them are public today, so every caller is anonymous. To require a login,
write an `identify` that reads the request's credentials, and declare an Access that uses it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import flask

from shared_lib.settings import Http
from shared_lib.web.origins import check_page


@dataclass(frozen=True)
class Principal:
    """The caller of a request."""

    name: str


ANONYMOUS = Principal("anonymous")


@dataclass(frozen=True)
class Access:
    identify: Callable[[flask.Request], Principal]
    """Returns the caller. Raises Forbidden if the caller may not use the endpoint."""
    embeddable: bool = False
    """Pages of any site may request it, as an `<img>` does. Otherwise only those that settings allow."""


PUBLIC = Access(lambda _request: ANONYMOUS)
PUBLIC_EMBEDDABLE = Access(lambda _request: ANONYMOUS, embeddable=True)


def authorize(request: flask.Request, access: Access, http: Http) -> Principal:
    """Return the caller, or raise Forbidden. Runs before any input is read."""
    if not access.embeddable:
        check_page(request, http)
    return access.identify(request)
