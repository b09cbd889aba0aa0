"""Make, list, rotate and revoke API keys."""

from dataclasses import dataclass

from shared_lib.domain.api_keys import ApiKey, ApiKeyText, KeyGrant
from shared_lib.domain.principals import Permission, Principal
from shared_lib.errors import Forbidden, Invalid
from shared_lib.observability import get_logger
from shared_lib.repositories.api_keys import ApiKeys

log = get_logger()


@dataclass(frozen=True)
class IssuedKey:
    """A key with its secret, which nobody can read again."""

    key: ApiKey
    text: str


class KeyManagement:
    def __init__(self, api_keys: ApiKeys) -> None:
        self._api_keys = api_keys

    def create(self, grant: KeyGrant, maker: Principal) -> IssuedKey:
        """Raises Invalid if a scope is beyond the role, and Forbidden if the maker may not do it either."""
        beyond = set(grant.scopes or ()) - grant.role.permissions
        if beyond:
            raise Invalid(
                f"scopes: {', '.join(sorted(beyond))} is beyond the role {grant.role}",
                details=[{"parameter": "scopes", "message": "is beyond the role"}],
            )
        _check_grant(grant.permissions, maker)
        text = ApiKeyText.generate()
        key = self._api_keys.create(text, grant, maker.name)
        log.info("api_key_created", key=key.id, role=key.role.value, by=maker.name)
        return IssuedKey(key, f"{text}")

    def rotate(self, key_id: str, days: int, overlap_hours: int, maker: Principal) -> IssuedKey:
        """Make a key with the same rights. Both work until the old one expires, after the overlap at the latest.

        Raises NotFound, Conflict and Forbidden.
        """
        old = self._api_keys.get(key_id)
        _check_grant(old.principal.permissions, maker)
        text = ApiKeyText.generate()
        grant = KeyGrant(name=old.name, role=old.role, scopes=old.scopes, days=days)
        key = self._api_keys.replace(key_id, text, grant, overlap_hours, maker.name)
        log.info("api_key_rotated", key=key_id, successor=key.id, by=maker.name)
        return IssuedKey(key, f"{text}")

    def revoke(self, key_id: str, maker: Principal) -> ApiKey:
        """Raises NotFound. Other processes accept the key for some more seconds: see `authentication.py`."""
        key = self._api_keys.revoke(key_id)
        log.info("api_key_revoked", key=key_id, by=maker.name)
        return key

    def list(self) -> list[ApiKey]:
        """Return the newest keys first, live or not."""
        return self._api_keys.list()


def _check_grant(permissions: frozenset[Permission], maker: Principal) -> None:
    """Raise Forbidden if a key would be allowed more than its maker."""
    if beyond := permissions - maker.permissions:
        raise Forbidden(f"You may not grant {', '.join(sorted(beyond))}", code="grant_beyond_own_permissions")
