"""Callers and their rights: roles, permissions and principals. No I/O.

An endpoint needs one permission. A principal has those of its role, or fewer if its key or token names scopes.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, get_args

from shared_lib.constraints import DEFAULT_TENANT

Permission = Literal[
    "images:read",
    "images:write",
    "images:share",
    "collections:read",
    "collections:write",
    "keys:manage",
    "audit:read",
    "operations:read",
    "operations:write",
]
"""An endpoint's need, and the name of a scope."""

ALL_PERMISSIONS: frozenset[Permission] = frozenset(get_args(Permission))


class Role(StrEnum):
    """A set of permissions under a name."""

    VIEWER = "viewer"
    EDITOR = "editor"
    ADMIN = "admin"

    @property
    def permissions(self) -> frozenset[Permission]:
        return _PERMISSIONS[self]


_READING: frozenset[Permission] = frozenset({"images:read", "collections:read"})
_WRITING: frozenset[Permission] = frozenset({"images:write", "images:share", "collections:write"})
_PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.VIEWER: _READING,
    Role.EDITOR: _READING | _WRITING,
    Role.ADMIN: ALL_PERMISSIONS,
}


@dataclass(frozen=True)
class Principal:
    """The caller of a request: an API key, the subject of a token, or nobody in particular."""

    name: str
    """For logs and for `createdBy`, such as `key:4tR9kQ2mZx`."""
    role: Role | None
    """None may do nothing."""
    tenant: str
    """The owner of the images and collections that exist for it. Empty for nobody in particular."""
    scopes: frozenset[Permission] | None = None
    """Limits of the key or token. None: all that the role may."""

    @property
    def permissions(self) -> frozenset[Permission]:
        granted: frozenset[Permission] = self.role.permissions if self.role else frozenset()
        return granted if self.scopes is None else granted & self.scopes


ANONYMOUS = Principal("anonymous", Role.ADMIN, DEFAULT_TENANT)
"""Every caller without credentials, with AUTH_MODE=anonymous."""

OPERATOR = Principal("operator", Role.ADMIN, DEFAULT_TENANT)
"""Whoever runs a command with the service's own settings."""

NOBODY = Principal("nobody", None, "")
"""The caller of an endpoint that needs nothing: no credentials are read."""
