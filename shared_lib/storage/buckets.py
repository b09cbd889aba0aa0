"""Objects in and out of the store: the only room that knows boto3.

Two buckets with two characters. The Inbox takes what clients put, under any key, and serves nothing. The Gallery
holds originals under their digest, once for all images that have the same bytes, and renditions under keys made of the
image's uuid, the original's digest and the recipe's hash: an object is never overwritten with other bytes.
"""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any
from uuid import UUID

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, ParamValidationError, SSLError

from shared_lib.domain.uploads import StoredObject
from shared_lib.errors import Misconfigured, RequestRefused, Unavailable
from shared_lib.limits import Limits
from shared_lib.observability import get_logger
from shared_lib.settings import Store as StoreSettings

if TYPE_CHECKING:
    from botocore.credentials import Credentials
    from botocore.response import StreamingBody
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef

log = get_logger()

STORE = "The object store"

_MISSING = ("404", "NoSuchKey", "NotFound", "PreconditionFailed", "412")
_TRY_AGAIN = ("RequestTimeout", "SlowDown")  # that S3 answers with 400 or 403, though they are about the moment
_WRONG_SETTINGS = ("AuthorizationHeaderMalformed", "InvalidBucketName", "IllegalLocationConstraintException")
_DELETE_AT_ONCE = 1000  # keys; the most that S3's DeleteObjects takes
_PIECE = 64 * 1024  # bytes


@contextmanager
def translating() -> Iterator[None]:
    """boto3's errors become ours."""
    try:
        yield
    except ClientError as error:
        raise _translate(error) from error
    except SSLError as error:
        raise Misconfigured(STORE) from error
    except ParamValidationError as error:
        raise RequestRefused("The object store cannot be asked for this") from error
    except (BotoCoreError, HTTPClientError) as error:
        raise Unavailable(f"{STORE} is out of reach") from error


def _translate(error: ClientError) -> Unavailable:
    """Tell what the store says of itself, of our settings, and of this one request."""
    code = error.response["Error"]["Code"]
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    if status >= 500 or status == 429 or code in _TRY_AGAIN:
        return Unavailable(f"{STORE} cannot answer now")
    # 301 and 307: the bucket is elsewhere. 404: there is no bucket, for an object's absence is an answer.
    if status in (301, 307, 401, 403, 404) or code in _WRONG_SETTINGS:
        return Misconfigured(STORE)
    return RequestRefused(f"{STORE} refused a request")


class Store:
    """A connection to the object store, shared by all threads."""

    def __init__(self, settings: StoreSettings) -> None:
        self._settings = settings
        self._clients: dict[tuple[str, bool], S3Client] = {}
        self._making = threading.Lock()  # a client takes a while: threads that come first at once wait for one

    @property
    def client(self) -> "S3Client":
        return self._reach(self._settings.endpoint_url)

    @property
    def signer(self) -> "S3Client":
        """The same, by the keys that sign upload URLs."""
        return self._reach(self._settings.endpoint_url, presigns=True)

    @property
    def public_signer(self) -> "S3Client":
        """Signs for the address that clients know. Signing needs no connection."""
        return self._reach(self._settings.public_endpoint_url or self._settings.endpoint_url, presigns=True)

    @property
    def credentials(self) -> "Credentials | None":
        """What signs upload URLs. None where the AWS SDK finds none."""
        return self._session(presigns=True).get_credentials()

    def _reach(self, endpoint: str, *, presigns: bool = False) -> "S3Client":
        presigns = presigns and self._settings.presign_access_key_id is not None
        with self._making:
            if (endpoint, presigns) not in self._clients:
                self._clients[endpoint, presigns] = self._build(endpoint, presigns=presigns)
            return self._clients[endpoint, presigns]

    def _session(self, *, presigns: bool) -> boto3.session.Session:
        told = self._settings
        key, secret = told.access_key_id, told.secret_access_key
        if presigns and told.presign_access_key_id:
            key, secret = told.presign_access_key_id, told.presign_secret_access_key
        return boto3.session.Session(
            aws_access_key_id=key.get_secret_value() if key else None,
            aws_secret_access_key=secret.get_secret_value() if secret else None,
            region_name=told.region,
        )

    def _build(self, endpoint: str, *, presigns: bool) -> "S3Client":
        return self._session(presigns=presigns).client(
            "s3",
            endpoint_url=endpoint,
            config=Config(
                signature_version="s3v4",
                s3={"addressing_style": "path"},
                connect_timeout=self._settings.timeout_seconds,
                read_timeout=self._settings.timeout_seconds,
                retries={"mode": "standard", "total_max_attempts": 3},
                max_pool_connections=32,
                # Not every S3 knows the newer checksum trailers.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def ping(self) -> None:
        """Raises Unavailable unless both buckets answer."""
        with translating():
            for bucket in (self._settings.upload_bucket, self._settings.completed_bucket):
                self.client.head_bucket(Bucket=bucket)


class Download:
    """An object on its way out of the store, in pieces. To be closed, whether it was read to its end or not."""

    def __init__(self, key: str, size: int, body: "StreamingBody") -> None:
        self._key = key
        self.size = size
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        """Raises Unavailable when the store breaks off."""
        try:
            with translating():
                yield from self._body.iter_chunks(_PIECE)
        except Unavailable:
            log.warning("download_broke_off", key=self._key)  # the request has been logged as answered by now
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

    def put(self, key: str, data: bytes, content_type: str, **more: str) -> None:
        with translating():
            self._client.put_object(Bucket=self.name, Key=key, Body=data, ContentType=content_type, **more)  # type: ignore[arg-type]

    def look(self, key: str) -> StoredObject | None:
        """What lies under the key, without its bytes; None when nothing does."""
        with translating():
            try:
                found = self._client.head_object(Bucket=self.name, Key=key)
            except ClientError as error:
                if error.response["Error"]["Code"] in _MISSING:
                    return None
                raise
        return _to_object(key, found["ContentLength"], found["ETag"], found["LastModified"])

    def read(self, key: str, limits: Limits | None = None) -> bytes | None:
        """
        The whole object, None when there is none.

        Give limits for what clients put: raises Rejected, before reading, above `limits.max_bytes`.
        """
        with translating():
            found = self._get(key)
            if found is None:
                return None
            with closing(found["Body"]) as body:
                if limits:
                    limits.enforce_file(found["ContentLength"])
                return body.read()

    def open(self, key: str, span: range | None = None) -> Download | None:
        """The object, or these of its bytes, to be read as it comes; None when there is none."""
        asked = {"Range": f"bytes={span.start}-{span.stop - 1}"} if span else {}
        with translating():
            found = self._get(key, **asked)
        return found and Download(key, found["ContentLength"], found["Body"])

    def _get(self, key: str, **asked: str) -> "GetObjectOutputTypeDef | None":
        try:
            return self._client.get_object(Bucket=self.name, Key=key, **asked)  # type: ignore[arg-type]
        except ClientError as error:
            if error.response["Error"]["Code"] in _MISSING:
                return None
            raise

    def delete(self, *keys: str) -> None:
        """Remove objects; a missing one is no error."""
        with translating():
            if len(keys) == 1:
                self._client.delete_object(Bucket=self.name, Key=keys[0])
                return
            for start in range(0, len(keys), _DELETE_AT_ONCE):
                batch = [{"Key": key} for key in keys[start : start + _DELETE_AT_ONCE]]
                self._client.delete_objects(Bucket=self.name, Delete={"Objects": batch, "Quiet": True})  # type: ignore[typeddict-item]

    def discard(self, found: StoredObject) -> bool:
        """Remove an object, unless another has come in its place since it was found."""
        unchanged = self.look(found.key) == found  # S3 has no delete-if-unchanged that every store knows
        if unchanged:
            self.delete(found.key)
        return unchanged

    def walk(self, prefix: str = "", *, after: str = "") -> Iterator[StoredObject]:
        """Every object below the prefix whose key comes after `after`, a page of a thousand at a time."""
        with translating():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.name, Prefix=prefix, StartAfter=after
            )
            for page in pages:
                for each in page.get("Contents", ()):
                    yield _to_object(each["Key"], each["Size"], each["ETag"], each["LastModified"])


class Inbox(Bucket):
    """What clients have put and nobody has processed yet. An image's object lies under its bare uuid."""

    def take_over(self, stranger: StoredObject) -> bool:
        """
        Move an object that came under a key of its client's choosing to where its image's object belongs.

        False when it is not there any more, or not the same any more; the newer one then has its own event.
        """
        with translating():
            try:
                self._client.copy_object(
                    Bucket=self.name,
                    Key=str(stranger.image),
                    CopySource={"Bucket": self.name, "Key": stranger.key},
                    CopySourceIfMatch=stranger.etag,
                )
            except ClientError as error:
                if error.response["Error"]["Code"] in _MISSING:
                    return False
                raise
        self.discard(stranger)
        return True


class Gallery(Bucket):
    """Originals, under `originals/<digest>`, and renditions, under `<uuid>/<digest>/<recipe>`: immutable."""

    def clear(self, uuid: UUID, *, keep: str | None = None) -> int:
        """Remove an image's renditions, but those below the prefix `keep`; answers how many went."""
        keys = [each.key for each in self.walk(f"{uuid}/") if keep is None or not each.key.startswith(keep)]
        if keys:
            self.delete(*keys)
        return len(keys)


def _to_object(key: str, size: int, etag: str, modified: Any) -> StoredObject:  # noqa: ANN401  boto3's datetime
    # Only whole seconds: a listing may know milliseconds that a HEAD does not.
    return StoredObject(key=key, size=size, etag=etag.strip('"'), modified=modified.replace(microsecond=0))
