"""Purge caches and CDNs by tag: Fastly, Cloudflare, CloudFront, Souin, nginx on this machine, any other that can."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import urllib3

from shared_lib.errors import Unavailable
from shared_lib.settings import (
    CloudflareCache,
    CloudFrontCache,
    FastlyCache,
    NginxCache,
    NginxFolder,
    PurgedCache,
    SouinCache,
)

TIMEOUT_SECONDS = 5.0
MOST_TAGS = 100
"""Of one call. Cloudflare takes no more, Fastly 256."""
_MOST_HEAD = 16_384  # bytes of a file of nginx's cache, before the body
_GROUPS = re.compile(rb"^cache-groups:(.*)$", re.IGNORECASE | re.MULTILINE)
_PATHS = ("/i/*", "/imgproxy/*", "/thumbor/*")


def purge(cache: PurgedCache, tags: Sequence[str]) -> None:
    """Have a cache forget up to MOST_TAGS tags. Doing so again is harmless. Raises Unavailable."""
    match cache:
        case FastlyCache():
            headers = {"Fastly-Key": cache.token.get_secret_value(), "Surrogate-Key": " ".join(tags)}
            _send("POST", f"{cache.url}/service/{quote(cache.service, safe='')}/purge", headers)
        case CloudflareCache():
            headers = {"Authorization": f"Bearer {cache.token.get_secret_value()}", "Content-Type": "application/json"}
            body = json.dumps({"tags": list(tags)}).encode()
            answer = _send("POST", f"{cache.url}/zones/{quote(cache.zone, safe='')}/purge_cache", headers, body)
            if not _read_json(answer).get("success"):
                raise Unavailable("Cloudflare refuses to purge")
        case CloudFrontCache():
            _invalidate(cache, tags)
        case SouinCache():
            # As `delivery/caching.py` writes it: Souin compares the text between commas.
            _send("PURGE", cache.url, {"Cache-Groups": ", ".join(f'"{each}"' for each in tags)} | _bearer(cache))
        case NginxCache():
            for tag in tags:
                _send("PURGE", f"{cache.url}/{quote(tag, safe='')}", _bearer(cache), missing=True)
        case NginxFolder():
            _delete_stored(cache.folder, {f'"{each}"'.encode() for each in tags})


def _delete_stored(folder: Path, groups: set[bytes]) -> None:
    """Delete answers with any of these groups from nginx's cache, which then asks again.

    Errors have no groups. They are deleted too, because a change may have made them wrong.
    """
    try:
        for path in folder.rglob("*"):
            with suppress(IsADirectoryError, FileNotFoundError), path.open("rb") as file:
                head = file.read(_MOST_HEAD).partition(b"\r\n\r\n")[0]
                found = _GROUPS.search(head)
                if not found or not groups.isdisjoint(each.strip() for each in found[1].split(b",")):
                    path.unlink(missing_ok=True)
    except OSError as error:
        raise Unavailable("nginx's cache cannot be changed") from error


def _bearer(cache: SouinCache | NginxCache) -> dict[str, str]:
    return {"Authorization": f"Bearer {cache.token.get_secret_value()}"} if cache.token else {}


def _invalidate(cache: CloudFrontCache, tags: Sequence[str]) -> None:
    """Invalidate all renditions, because CloudFront knows paths alone, and an image's uuid is at the end of a URL's.

    The same reference with the same paths makes no second invalidation.
    """
    from botocore.auth import SigV4Auth  # noqa: PLC0415  it takes 50 ms, and only these installations need it
    from botocore.awsrequest import AWSRequest  # noqa: PLC0415  (same)
    from botocore.credentials import Credentials  # noqa: PLC0415  (same)

    reference = hashlib.sha256(" ".join(sorted(tags)).encode()).hexdigest()[:32]
    items = "".join(f"<Path>{path}</Path>" for path in _PATHS)
    body = (
        '<InvalidationBatch xmlns="http://cloudfront.amazonaws.com/doc/2020-05-31/">'
        f"<CallerReference>{reference}</CallerReference>"
        f"<Paths><Quantity>{len(_PATHS)}</Quantity><Items>{items}</Items></Paths></InvalidationBatch>"
    ).encode()
    url = f"{cache.url}/2020-05-31/distribution/{quote(cache.distribution, safe='')}/invalidation"
    request = AWSRequest("POST", url, headers={"Content-Type": "text/xml"}, data=body)
    keys = Credentials(cache.access_key_id, cache.secret_access_key.get_secret_value())
    SigV4Auth(keys, "cloudfront", "us-east-1").add_auth(request)
    _send("POST", url, dict(request.headers.items()), body)


def _send(
    method: str, url: str, headers: Mapping[str, str], body: bytes | None = None, *, missing: bool = False
) -> bytes:
    """Return the response's body. With `missing`, 404 is a success, too. Raises Unavailable."""
    try:
        with urllib3.PoolManager(timeout=TIMEOUT_SECONDS) as pool:
            response = pool.request(method, url, headers=headers, body=body, redirect=False, retries=False)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise Unavailable("A cache to purge is out of reach") from error
    if response.status >= 300 and not (missing and response.status == 404):
        raise Unavailable(f"A cache to purge responds with {response.status}")
    return response.data


def _read_json(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError as error:
        raise Unavailable("A cache to purge responds with no JSON") from error
    return found if isinstance(found, dict) else {}
