"""Sign URLs that deliver images, with the keys of the guarded service."""

import base64
import hmac

KEYS = {"new": "1f" * 32, "old": "a0" * 32}
SETTING = ",".join(f"{name}:{key}" for name, key in KEYS.items())
"""DELIVERY_KEYS."""


def sign(path: str, key: str = "new") -> str:
    """Return the path of the signed URL."""
    digest = hmac.digest(bytes.fromhex(KEYS[key]), path.encode(), "sha256")
    return f"/i/{key}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}{path}"
