"""Fetch the public keys of a token issuer (OpenID Connect Discovery, JWK Set). Only the reconciler does so."""

import base64
import binascii
import json
import time
from typing import Any
from urllib.parse import urlsplit

import urllib3

from shared_lib.addresses import is_loopback
from shared_lib.errors import Unavailable
from shared_lib.settings import Issuer

TIMEOUT_SECONDS = 3.0
MAX_BYTES = 64 * 1024
MAX_KEYS = 20
_MIN_RSA_BITS, _MAX_RSA_BITS = 2048, 8192
_FIELDS = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
_CURVES = {"EC": "P-256", "OKP": "Ed25519"}


def fetch_keys(issuer: Issuer) -> list[dict[str, str]]:
    """Return the issuer's signature keys, with the fields that verification needs. Raises Unavailable."""
    url = issuer.keys_url or _discover(issuer)
    found = _get(url).get("keys")
    if not isinstance(found, list):
        raise Unavailable(f"{url} has no list of keys")
    usable = [key for key in map(read_key, found) if key]
    return usable[:MAX_KEYS]


def _discover(issuer: Issuer) -> str:
    address = f"{issuer.issuer.rstrip('/')}/.well-known/openid-configuration"
    document = _get(address)
    if document.get("issuer") != issuer.issuer:
        raise Unavailable(f"{address} is about another issuer")
    url = document.get("jwks_uri")
    if not isinstance(url, str) or not _is_safe(url, issuer):
        raise Unavailable(f"{address} has no jwks_uri with https")
    return url


def _is_safe(url: str, issuer: Issuer) -> bool:
    """Return whether the address has TLS, or stays on this machine as the issuer itself does."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    is_local = is_loopback(host) and is_loopback(urlsplit(issuer.issuer).hostname or "")
    return bool(host) and not parts.username and (parts.scheme == "https" or (parts.scheme == "http" and is_local))


def _get(url: str) -> dict[str, Any]:
    """Return a JSON object. Follows no redirect, and stops at limits of time and size. Raises Unavailable."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    try:
        with urllib3.PoolManager() as pool:
            response = pool.request(
                "GET",
                url,
                headers={"Accept": "application/json"},
                redirect=False,
                retries=False,
                timeout=urllib3.Timeout(connect=TIMEOUT_SECONDS, read=TIMEOUT_SECONDS),
                preload_content=False,
            )
            try:
                data = _read(response, deadline)
            finally:
                response.close()
        if response.status != 200:
            raise Unavailable(f"{url} responds with {response.status}")
        document = json.loads(data)
    except (urllib3.exceptions.HTTPError, OSError, ValueError, RecursionError) as error:
        raise Unavailable(f"{url} cannot be read") from error
    if not isinstance(document, dict):
        raise Unavailable(f"{url} has no object")
    return document


def _read(response: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
    data = b""
    for chunk in response.stream(4096):
        data += chunk
        if len(data) > MAX_BYTES:
            raise ValueError("too many bytes")
        if time.monotonic() > deadline:
            raise TimeoutError
    return data


def read_key(key: object) -> dict[str, str] | None:
    """Return the public part of a key that can verify signatures, or None for any other."""
    if not isinstance(key, dict) or key.get("use", "sig") != "sig" or "verify" not in _operations(key):
        return None
    kind = key.get("kty")
    names = ("kty", "kid", *_FIELDS.get(kind, ())) if isinstance(kind, str) else ()
    names += ("alg",) if "alg" in key else ()
    public = {name: key[name] for name in names if isinstance(key.get(name), str)}
    if kind not in _FIELDS or len(public) < len(names):
        return None
    if public.get("crv") != _CURVES.get(kind) or (kind == "RSA" and not _has_sane_size(public["n"])):
        return None
    return public


def _operations(key: dict[str, Any]) -> list[object]:
    operations = key.get("key_ops", ["verify"])
    return operations if isinstance(operations, list) else []


def _has_sane_size(modulus: str) -> bool:
    try:
        number = int.from_bytes(base64.urlsafe_b64decode(modulus + "=" * (-len(modulus) % 4)))
    except (binascii.Error, ValueError):
        return False
    return _MIN_RSA_BITS <= number.bit_length() <= _MAX_RSA_BITS
