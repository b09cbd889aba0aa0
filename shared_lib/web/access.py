"""Decide who may call an endpoint: the one place where requests are authenticated and authorized.

An endpoint declares what it `needs`. `services/authentication.py` says who the caller is.
"""

from ipaddress import ip_address

import flask

from shared_lib.domain.audit import Actor
from shared_lib.domain.principals import NOBODY, Principal
from shared_lib.errors import PermissionMissing, Unauthenticated
from shared_lib.runtime import Runtime
from shared_lib.services.authentication import Credentials
from shared_lib.settings import Http
from shared_lib.settings.access import Networks
from shared_lib.web.endpoint import Endpoint
from shared_lib.web.errors import NO_CREDENTIALS
from shared_lib.web.origins import check_page

API_KEY_HEADER = "X-API-Key"
_MAX_ADDRESS = 64  # characters


def authorize(request: flask.Request, endpoint: Endpoint, rt: Runtime) -> Principal:
    """Return the caller. Runs before any input is read.

    Raises Unauthenticated, Forbidden, TooManyAttempts, or Unavailable if the database is needed and out of reach.
    """
    if not endpoint.is_embeddable:
        check_page(request, rt.settings.http, is_read=endpoint.needs == "nothing" or endpoint.needs.endswith(":read"))
    if endpoint.needs == "nothing":
        return NOBODY
    address = read_address(request, rt.settings.http)
    try:
        principal = rt.authenticator.identify(_read_credentials(request, address))
    except Unauthenticated as error:
        rt.denials.record(Actor("", address, flask.g.request_id), "", endpoint.name, error.code)
        raise
    if principal is None:
        raise NO_CREDENTIALS  # and nothing is recorded: nobody tried to be somebody
    if endpoint.needs not in principal.permissions:
        missing = PermissionMissing(endpoint.needs)
        rt.denials.record(
            Actor(principal.name, address, flask.g.request_id), principal.tenant, endpoint.name, missing.code
        )
        raise missing
    return principal


def _read_credentials(request: flask.Request, address: str) -> Credentials:
    """Read headers, and never the query: URLs end up in logs and histories. Raises Unauthenticated."""
    authorization = request.headers.get("Authorization")
    api_key = request.headers.get(API_KEY_HEADER, "").strip(" ")
    scheme, _, token = (authorization or "").strip(" ").partition(" ")
    if authorization is not None and (scheme.lower() != "bearer" or api_key):
        raise Unauthenticated("Send either an API key in X-API-Key, or a bearer token in Authorization")
    return Credentials(bearer=token.strip(" "), api_key=api_key, address=address)


def read_address(request: flask.Request, http: Http) -> str:
    """Return the client's address: what the first trusted proxy says, and never what a caller wrote before that.

    Each proxy adds its own peer at the right end. It decides nothing but who is slowed down, and what is recorded.
    """
    trusted = http.trusted_proxies
    passed = [each.strip() for each in request.headers.get("X-Forwarded-For", "").split(",")]
    passed = [*filter(None, passed), request.remote_addr or ""]
    if isinstance(trusted, int):
        address = passed[-1 - trusted] if trusted < len(passed) else passed[-1]
    else:
        address = next((each for each in reversed(passed) if not _is_in(trusted, each)), passed[0])
    return address[:_MAX_ADDRESS]


def _is_in(networks: Networks, text: str) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    return any(address in each for each in networks)
