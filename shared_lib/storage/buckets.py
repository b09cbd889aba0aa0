"""The two buckets: the inbox, which takes uploads, and the gallery, which holds what is published."""

import base64
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_plus
from uuid import UUID
from xml.sax.saxutils import escape

from urllib3 import BaseHTTPResponse

from shared_lib.domain.uploads import Original, StoredObject, compose_prefix, read_uuid, split_key
from shared_lib.errors import Unavailable
from shared_lib.observability import get_logger
from shared_lib.pipeline.formats import Format
from shared_lib.storage.answers import is_truncated, parse, read_text, reading
from shared_lib.storage.store import Missing, Store, translating

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

log = get_logger()

_DELETE_AT_ONCE = 1000  # keys; the most that S3's DeleteObjects takes
_PIECE = 64 * 1024  # bytes


class Download:
    """An object that is read from the store in pieces. Close it, even after reading it to the end."""

    def __init__(self, key: str, response: BaseHTTPResponse) -> None:
        self._key = key
        with reading():
            self.size = int(response.headers["Content-Length"])
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        """Raise Unavailable if the store breaks off."""
        try:
            with translating():
                yield from self._response.stream(_PIECE)
        except Unavailable:
            log.warning("download_broke_off", key=self._key)  # the request was logged as answered before
            raise

    def close(self) -> None:
        self._response.close()


class Bucket:
    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self.name = name

    def put(self, key: str, data: bytes, content_type: str, *, sha256: str | None = None) -> None:
        """Store an object. `sha256`, in hexadecimal, is part of the signature. It is computed unless it is given."""
        self._store.send("PUT", self.name, key, headers={"Content-Type": content_type}, body=data, sha256=sha256)

    def head(self, key: str) -> StoredObject | None:
        """Return the object's description, or None if there is none."""
        try:
            headers = self._store.send("HEAD", self.name, key).headers
        except Missing:
            return None
        with reading():
            modified = parsedate_to_datetime(headers["Last-Modified"])
            return _to_object(key, headers["Content-Length"], headers["ETag"], modified)

    def read(self, key: str, *, check_size: Callable[[int], object] | None = None) -> bytes | None:
        """Return the whole object, or None if there is none.

        `check_size` is called with the number of bytes before they are read, and may raise.
        """
        try:
            response = self._store.send("GET", self.name, key, stream=True)
        except Missing:
            return None
        with closing(response):
            with reading():
                size = int(response.headers["Content-Length"])
            if check_size:
                check_size(size)
            with translating():
                return response.read()

    def stream(self, key: str, span: range | None = None) -> Download | None:
        """Open the object, or the span of its bytes, for reading in pieces. Return None if there is none."""
        headers = {"Range": f"bytes={span.start}-{span.stop - 1}"} if span else {}
        try:
            return Download(key, self._store.send("GET", self.name, key, headers=headers, stream=True))
        except Missing:
            return None

    def delete(self, *keys: str) -> None:
        """Delete objects. A missing one is no error."""
        if len(keys) == 1:
            self._store.send("DELETE", self.name, keys[0])
            return
        for start in range(0, len(keys), _DELETE_AT_ONCE):
            self._delete_batch(keys[start : start + _DELETE_AT_ONCE])

    def _delete_batch(self, keys: Sequence[str]) -> None:
        objects = "".join(f"<Object><Key>{escape(key)}</Key></Object>" for key in keys)
        body = f"<Delete><Quiet>true</Quiet>{objects}</Delete>".encode()
        checksum = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()  # S3 requires it
        answer = self._store.send("POST", self.name, query="delete=", headers={"Content-MD5": checksum}, body=body).data
        parse(answer, "DeleteResult")

    def delete_if_unchanged(self, found: StoredObject) -> bool:
        """Delete an object unless it was replaced since it was found. Return whether it was deleted."""
        unchanged = self.head(found.key) == found  # not every store supports conditional deletes
        if unchanged:
            self.delete(found.key)
        return unchanged

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[StoredObject]:
        """Yield the objects below the prefix whose keys come after `after`, in the order of their keys' bytes."""
        query = {"list-type": "2", "encoding-type": "url", "prefix": prefix, "start-after": after}
        while True:
            page = parse(self._store.send("GET", self.name, query=encode_query(query)).data, "ListBucketResult")
            with reading():
                found = [_read_listed(each) for each in page.iterfind("{*}Contents")]
            yield from found
            if not is_truncated(page):
                return
            with reading():
                query["continuation-token"] = read_text(page, "NextContinuationToken")


class Inbox(Bucket):
    """Uploads that are not processed yet, or failed. Nothing is served.

    An image's upload has its uuid as key, behind `t/<tenant>/` unless it is the default tenant's.
    """

    def move(self, found: StoredObject, key: str) -> bool:
        """Move an object to another key.

        Return False if it is gone or was replaced. The store sends another event for the newer one.
        """
        headers = {
            "x-amz-copy-source": quote(f"{self.name}/{found.key}"),
            "x-amz-copy-source-if-match": found.etag,
        }
        try:
            answer = self._store.send("PUT", self.name, key, headers=headers).data
        except Missing:
            return False
        parse(answer, "CopyObjectResult")
        self.delete_if_unchanged(found)
        return True


class Gallery(Bucket):
    """Originals and renditions, under keys that identify their bytes: an object is never overwritten with other bytes.

    `originals/<sha256>.<ext>` holds an original once for all images that have the same bytes, and
    `<uuid>/<digest of the original>/<hash of the recipe>.<ext>` a rendition. Those of other tenants than the default
    one have `t/<tenant>/` in front, so tenants share no bytes.
    """

    @staticmethod
    def describe_original(data: bytes, form: Format, tenant: str) -> Original:
        """Return where to put an original, and what its row says of it."""
        sha256 = hashlib.sha256(data).hexdigest()
        key = f"{compose_prefix(tenant)}originals/{sha256}.{form.extension}"
        return Original(key=key, content_type=form.content_type, sha256=sha256, size=len(data))

    @staticmethod
    def rendition_prefix(tenant: str, uuid: UUID, sha256: str = "") -> str:
        """Return the prefix of all renditions of an image, or of those that were made of the same bytes."""
        return f"{compose_prefix(tenant)}{uuid}/" + (f"{sha256[:32]}/" if sha256 else "")

    @staticmethod
    def find_image(key: str) -> UUID | None:
        """Return the image that a rendition's key belongs to, or None for an original's key."""
        return read_uuid(split_key(key)[1].partition("/")[0])

    def store_original(self, original: Original, data: bytes, *, is_published: bool) -> None:
        """Store an original that a row names. One that an equal image has published is probably there already."""
        if not (is_published and self.head(original.key)):  # a broken-off attempt may have put the same bytes there
            self.put(original.key, data, original.content_type, sha256=original.sha256)

    def delete_renditions(self, tenant: str, uuid: UUID, *, keep: str | None = None) -> int:
        """Delete an image's renditions except those with the prefix `keep`. Return how many were deleted."""
        found = self.list(self.rendition_prefix(tenant, uuid))
        keys = [each.key for each in found if keep is None or not each.key.startswith(keep)]
        if keys:
            self.delete(*keys)
        return len(keys)


def _to_object(key: str, size: str, etag: str, modified: datetime) -> StoredObject:
    # Whole seconds only: a listing may have milliseconds that a HEAD does not have.
    return StoredObject(key=key, size=int(size), etag=etag.strip('"'), modified=modified.replace(microsecond=0))


def _read_listed(entry: "Element") -> StoredObject:
    modified = datetime.fromisoformat(read_text(entry, "LastModified"))
    return _to_object(
        unquote_plus(read_text(entry, "Key")), read_text(entry, "Size"), read_text(entry, "ETag"), modified
    )


def encode_query(query: Mapping[str, str]) -> str:
    """Return a query in the order that signatures need, without names that have no value."""
    return "&".join(f"{name}={quote(value, safe='')}" for name, value in sorted(query.items()) if value)
