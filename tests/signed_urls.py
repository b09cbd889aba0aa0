"""Sign URLs that deliver images, and make tokens for them, with the keys of the guarded service."""

import base64
import hmac
import json

KEYS = {"new": "1f" * 32, "old": "a0" * 32}
IMGPROXY_KEY, IMGPROXY_SALT = "943b421c9eb07c83", "520f986b998545b4"
"""Of imgproxy's URLs, in hexadecimal digits."""
THUMBOR_KEY = "a key of the tests"
SETTING = ",".join(f"{name}:{key}" for name, key in KEYS.items())
"""DELIVERY_KEYS."""


def sign(path: str, key: str = "new") -> str:
    """Return the path of the signed URL."""
    return f"/i/{key}.{_compute(key, path)}{path}"


def make_token(allowed: object, key: str = "new") -> str:
    return make_token_of(json.dumps(allowed).encode(), key)


def make_token_of(content: bytes, key: str = "new") -> str:
    """Return the token of any bytes, whether they are JSON or not."""
    text = _encode(content)
    return f"{key}.{text}.{_compute(key, text)}"


def _compute(key: str, text: str) -> str:
    return _encode(hmac.digest(bytes.fromhex(KEYS[key]), text.encode(), "sha256"))


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
