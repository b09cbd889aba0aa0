"""Verify bearer tokens, with the issuers' keys as PostgreSQL has them. No request goes to an issuer."""

import time
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from shared_lib.constraints import DEFAULT_TENANT
from shared_lib.domain.principals import ALL_PERMISSIONS, Permission, Principal, Role
from shared_lib.domain.tokens import (
    LEEWAY_SECONDS,
    BadToken,
    Token,
    check_claims,
    parse_token,
    read_names,
    read_subject,
)
from shared_lib.errors import Unauthenticated
from shared_lib.observability import get_logger
from shared_lib.repositories.issuer_keys import IssuerKeys
from shared_lib.repositories.tenants import Tenants
from shared_lib.settings import Issuer

if TYPE_CHECKING:
    import jwt

log = get_logger()

KEPT_SECONDS = 30  # that keys are trusted without asking the database
RETRY_SECONDS = 1  # between two looks for a key that is not known
REQUEST_SECONDS = 10  # between two requests of this process for fresh keys
KEPT_SIGNATURES = 256  # tokens of at most 8 KiB

_KINDS = {"RS256": "RSA", "PS256": "RSA", "ES256": "EC", "EdDSA": "OKP"}
_ROLES = (Role.ADMIN, Role.EDITOR, Role.VIEWER)
_RESOURCES = tuple({permission.partition(":")[0] + ":" for permission in ALL_PERMISSIONS})
"""Beginnings of our scopes. A scope `images` is the issuer's own: Keycloak names each client scope in its tokens."""


class TokenVerifier:
    """Thread-safe, with no state but caches."""

    def __init__(self, issuers: Sequence[Issuer], keys: IssuerKeys, tenants: Tenants) -> None:
        self._tenants = _KnownTenants(tenants)
        self._issuers = {issuer.issuer: (issuer, _Keyring(issuer.issuer, keys)) for issuer in issuers}

    def verify(self, text: str) -> Principal:
        """Return whom the token is about. Raises Unauthenticated, which tells the caller no reason."""
        try:
            token = parse_token(text)
            principal = _verify(token, *self._find_issuer(token))
            self._tenants.require(principal.tenant)
        except BadToken as error:
            log.info("token_refused", reason=f"{error}")
            raise Unauthenticated("The token is not accepted") from error
        return principal

    def _find_issuer(self, token: Token) -> "tuple[Issuer, _Keyring]":
        found = self._issuers.get(token.issuer)
        if found is None:
            raise BadToken("an unknown issuer")
        return found


def _verify(token: Token, issuer: Issuer, keyring: "_Keyring") -> Principal:
    if token.header.algorithm not in issuer.algorithms:
        raise BadToken("an algorithm that the issuer does not use")
    if token.header.type not in issuer.types:
        raise BadToken("another type of token")
    check_claims(token.claims, issuer.audience, time.time())
    key = keyring.find(token.header.key_id, token.header.algorithm)
    if key is None:
        raise BadToken("an unknown key")
    claims = _check_signature(token.text, token.header.algorithm, key, issuer.audience, issuer.issuer)
    role, scopes = _read_rights(claims, issuer)
    return Principal(f"{issuer.issuer}#{read_subject(claims)}", role, _read_tenant(claims, issuer), scopes)


@lru_cache(maxsize=KEPT_SIGNATURES)
def _check_signature(text: str, algorithm: str, key: "jwt.PyJWK", audience: str, issuer: str) -> dict[str, Any]:
    """Return the claims that the key signed. Raises BadToken.

    The library checks them once more. What a key has signed does not change, so it is remembered. Everything else is
    checked at each request.
    """
    import jwt  # noqa: PLC0415  30 ms, which only the first token pays

    try:
        return jwt.decode(
            text,
            key,
            algorithms=[algorithm],
            audience=audience,
            issuer=issuer,
            leeway=LEEWAY_SECONDS,
            options={"require": ["exp", "iss", "aud"]},
        )
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise BadToken(f"not verified: {type(error).__name__}") from error


def _read_rights(claims: dict[str, Any], issuer: Issuer) -> tuple[Role | None, frozenset[Permission] | None]:
    """Return the highest role that the token has, and what its scopes limit that to."""
    granted = {issuer.roles[name] for name in read_names(claims, issuer.roles_claim) & issuer.roles.keys()}
    role = next((role for role in _ROLES if role.value in granted), None)
    ours = {scope for scope in read_names(claims, ("scope",)) if scope.startswith(_RESOURCES)}
    return role, (ALL_PERMISSIONS & ours if ours else None)


def _read_tenant(claims: dict[str, Any], issuer: Issuer) -> str:
    if issuer.tenant_claim is None:
        return issuer.tenant
    named = read_names(claims, issuer.tenant_claim)
    if len(named) != 1:
        raise BadToken("no tenant, or several")
    [tenant] = named
    return tenant


class _KnownTenants:
    """Tenants that were looked up, for some seconds: one may be deleted."""

    def __init__(self, tenants: Tenants) -> None:
        self._tenants = tenants
        self._known = {DEFAULT_TENANT: float("inf")}
        """Until when each is known."""

    def require(self, tenant: str) -> None:
        """Raise BadToken unless there is such a tenant."""
        if self._known.get(tenant, 0) > time.monotonic():
            return
        if not self._tenants.exists(tenant):
            raise BadToken("an unknown tenant")
        self._known[tenant] = time.monotonic() + KEPT_SECONDS


class _Keyring:
    """The keys of one issuer. Threads may read them anew at once: the last one's are kept."""

    def __init__(self, issuer: str, stored: IssuerKeys) -> None:
        self._issuer = issuer
        self._stored = stored
        self._keys: dict[tuple[str, str], dict[str, str]] = {}
        self._ready: dict[tuple[str, str], jwt.PyJWK] = {}
        self._read_at = self._requested_at = float("-inf")

    def find(self, key_id: str, algorithm: str) -> "jwt.PyJWK | None":
        """Return a key for the algorithm. Looks into the database if the keys are old, or have none of that name."""
        name = key_id, algorithm
        age = time.monotonic() - self._read_at
        if age > KEPT_SECONDS or (name not in self._keys and age > RETRY_SECONDS):
            self._read()
        if key := self._keys.get(name):
            return self._make_ready(name, key)
        if time.monotonic() - self._requested_at > REQUEST_SECONDS:
            self._requested_at = time.monotonic()
            self._stored.request_fetch(self._issuer)
        return None

    def _read(self) -> None:
        found: dict[tuple[str, str], dict[str, str]] = {}
        for key in self._stored.read(self._issuer):
            for algorithm, kind in _KINDS.items():
                if key["kty"] == kind and key.get("alg", algorithm) == algorithm:
                    found.setdefault((key["kid"], algorithm), key)
        if found != self._keys:
            self._ready = {}
        self._keys, self._read_at = found, time.monotonic()

    def _make_ready(self, name: tuple[str, str], key: dict[str, str]) -> "jwt.PyJWK":
        """Parse a key, once."""
        import jwt  # noqa: PLC0415  (same)

        ready = self._ready.get(name)
        if ready is None:
            try:
                ready = self._ready[name] = jwt.PyJWK(key, algorithm=name[1])
            except (jwt.PyJWTError, ValueError, TypeError) as error:
                raise BadToken("a key that is not usable") from error
        return ready
