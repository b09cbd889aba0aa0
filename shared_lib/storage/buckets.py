"""The two buckets: the inbox, which takes uploads, and the gallery, which holds what is published."""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any
from uuid import UUID

from botocore.exceptions import ClientError

from shared_lib.domain.uploads import StoredObject
from shared_lib.errors import Unavailable
from shared_lib.observability import get_logger
from shared_lib.storage.store import Store, translating

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef

log = get_logger()

_MISSING = ("404", "NoSuchKey", "NotFound", "PreconditionFailed", "412")
_DELETE_AT_ONCE = 1000  # keys; the most that S3's DeleteObjects takes
_PIECE = 64 * 1024  # bytes


class Download:
    """An object that is read from the store in pieces. Close it, even after reading it to the end."""

    def __init__(self, key: str, size: int, body: "StreamingBody") -> None:
        self._key = key
        self.size = size
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        """Raise Unavailable if the store breaks off."""
        try:
            with translating():
                yield from self._body.iter_chunks(_PIECE)
        except Unavailable:
            log.warning("download_broke_off", key=self._key)  # the request was logged as answered before
            raise

    def close(self) -> None:
        self._body.close()


class Bucket:
    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self.name = name

    @property
    def _client(self) -> "S3Client":
        return self._store.client

    def put(self, key: str, data: bytes, content_type: str) -> None:
        with translating():
            self._client.put_object(Bucket=self.name, Key=key, Body=data, ContentType=content_type)

    def head(self, key: str) -> StoredObject | None:
        """Return the object's description, or None if there is none."""
        with translating():
            try:
                found = self._client.head_object(Bucket=self.name, Key=key)
            except ClientError as error:
                if error.response["Error"]["Code"] in _MISSING:
                    return None
                raise
        return _to_object(key, found["ContentLength"], found["ETag"], found["LastModified"])

    def read(self, key: str, *, check_size: Callable[[int], object] | None = None) -> bytes | None:
        """
        Return the whole object, or None if there is none.

        `check_size` is called with the number of bytes before they are read, and may raise.
        """
        with translating():
            found = self._get(key)
            if found is None:
                return None
            with closing(found["Body"]) as body:
                if check_size:
                    check_size(found["ContentLength"])
                return body.read()

    def stream(self, key: str, span: range | None = None) -> Download | None:
        """Open the object, or the span of its bytes, for reading in pieces. Return None if there is none."""
        headers = {"Range": f"bytes={span.start}-{span.stop - 1}"} if span else {}
        with translating():
            found = self._get(key, **headers)
        return found and Download(key, found["ContentLength"], found["Body"])

    def _get(self, key: str, **headers: str) -> "GetObjectOutputTypeDef | None":
        try:
            return self._client.get_object(Bucket=self.name, Key=key, **headers)  # type: ignore[arg-type]
        except ClientError as error:
            if error.response["Error"]["Code"] in _MISSING:
                return None
            raise

    def delete(self, *keys: str) -> None:
        """Delete objects. A missing one is no error."""
        with translating():
            if len(keys) == 1:
                self._client.delete_object(Bucket=self.name, Key=keys[0])
                return
            for start in range(0, len(keys), _DELETE_AT_ONCE):
                batch = [{"Key": key} for key in keys[start : start + _DELETE_AT_ONCE]]
                self._client.delete_objects(Bucket=self.name, Delete={"Objects": batch, "Quiet": True})  # type: ignore[typeddict-item]

    def delete_if_unchanged(self, found: StoredObject) -> bool:
        """Delete an object unless it was replaced since it was found. Return whether it was deleted."""
        unchanged = self.head(found.key) == found  # not every store supports conditional deletes
        if unchanged:
            self.delete(found.key)
        return unchanged

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[StoredObject]:
        """Yield the objects below the prefix whose keys come after `after`, in the order of their keys' bytes."""
        with translating():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.name, Prefix=prefix, StartAfter=after
            )
            for page in pages:
                for each in page.get("Contents", ()):
                    yield _to_object(each["Key"], each["Size"], each["ETag"], each["LastModified"])


class Inbox(Bucket):
    """Uploads that are not processed yet, or failed. An image's upload has its bare uuid as key. Nothing is served."""

    def move(self, foreign: StoredObject) -> bool:
        """
        Move an object whose client chose its key to the key of the image that it becomes.

        Return False if it is gone or was replaced. The store sends another event for the newer one.
        """
        with translating():
            try:
                self._client.copy_object(
                    Bucket=self.name,
                    Key=str(foreign.image),
                    CopySource={"Bucket": self.name, "Key": foreign.key},
                    CopySourceIfMatch=foreign.etag,
                )
            except ClientError as error:
                if error.response["Error"]["Code"] in _MISSING:
                    return False
                raise
        self.delete_if_unchanged(foreign)
        return True


class Gallery(Bucket):
    """
    Originals and renditions, under keys that identify their bytes: an object is never overwritten with other bytes.

    `originals/<sha256>.<ext>` holds an original once for all images that have the same bytes, and
    `<uuid>/<digest of the original>/<hash of the recipe>.<ext>` a rendition.
    """

    @staticmethod
    def original_key(sha256: str, extension: str) -> str:
        return f"originals/{sha256}.{extension}"

    @staticmethod
    def rendition_prefix(uuid: UUID, sha256: str) -> str:
        """Return the prefix of all renditions that were made of the same bytes of an image."""
        return f"{uuid}/{sha256[:32]}/"

    @classmethod
    def rendition_key(cls, uuid: UUID, sha256: str, recipe_hash: str, extension: str) -> str:
        return f"{cls.rendition_prefix(uuid, sha256)}{recipe_hash}.{extension}"

    @staticmethod
    def find_image(key: str) -> UUID | None:
        """Return the image that a rendition's key belongs to, or None for an original's key."""
        return StoredObject.name_image(key.partition("/")[0])

    def delete_renditions(self, uuid: UUID, *, keep: str | None = None) -> int:
        """Delete an image's renditions except those with the prefix `keep`. Return how many were deleted."""
        keys = [each.key for each in self.list(f"{uuid}/") if keep is None or not each.key.startswith(keep)]
        if keys:
            self.delete(*keys)
        return len(keys)


def _to_object(key: str, size: int, etag: str, modified: Any) -> StoredObject:  # noqa: ANN401  boto3's datetime
    # Whole seconds only: a listing may have milliseconds that a HEAD does not have.
    return StoredObject(key=key, size=size, etag=etag.strip('"'), modified=modified.replace(microsecond=0))
