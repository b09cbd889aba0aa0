"""The connection to the object store, and its errors. Only this package uses boto3."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, ParamValidationError, SSLError

from shared_lib.errors import Misconfigured, RequestRejected, Unavailable
from shared_lib.settings import Store as StoreSettings

if TYPE_CHECKING:
    from botocore.credentials import Credentials
    from mypy_boto3_s3 import S3Client

STORE = "The object store"

_TRY_AGAIN = ("RequestTimeout", "SlowDown")  # that S3 answers with 400 or 403, though they are about the moment
_WRONG_SETTINGS = ("AuthorizationHeaderMalformed", "InvalidBucketName", "IllegalLocationConstraintException")


@contextmanager
def translating() -> Iterator[None]:
    """Translate boto3's errors into the service's."""
    try:
        yield
    except ClientError as error:
        raise _translate(error) from error
    except SSLError as error:
        raise Misconfigured(STORE) from error
    except ParamValidationError as error:
        raise RequestRejected(f"{STORE} does not support this request") from error
    except (BotoCoreError, HTTPClientError) as error:
        raise Unavailable(f"{STORE} is out of reach") from error


def _translate(error: ClientError) -> Unavailable:
    """Tell apart an outage of the store, wrong settings, and a denied request."""
    code = error.response["Error"]["Code"]
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    if status >= 500 or status == 429 or code in _TRY_AGAIN:
        return Unavailable(f"{STORE} cannot answer now")
    # 301 and 307: the bucket is elsewhere. 404: there is no bucket. A missing object never gets here.
    if status in (301, 307, 401, 403, 404) or code in _WRONG_SETTINGS:
        return Misconfigured(STORE)
    return RequestRejected(f"{STORE} rejected a request")


class Store:
    """A connection to the object store, shared by all threads."""

    def __init__(self, settings: StoreSettings) -> None:
        self._settings = settings
        self._clients: dict[tuple[str, bool], S3Client] = {}
        self._making = threading.Lock()  # making a client is slow: concurrent first callers share one

    @property
    def client(self) -> "S3Client":
        return self._reach(self._settings.endpoint_url)

    @property
    def signer(self) -> "S3Client":
        """A client with the access key that signs upload URLs."""
        return self._reach(self._settings.endpoint_url, presigns=True)

    @property
    def public_signer(self) -> "S3Client":
        """A client that signs for the address that API clients use. Signing needs no connection."""
        return self._reach(self._settings.public_endpoint_url or self._settings.endpoint_url, presigns=True)

    @property
    def credentials(self) -> "Credentials | None":
        """The credentials that sign upload URLs, or None if the AWS SDK finds none."""
        return self._session(presigns=True).get_credentials()

    def _reach(self, endpoint: str, *, presigns: bool = False) -> "S3Client":
        presigns = presigns and self._settings.presign_access_key_id is not None
        with self._making:
            if (endpoint, presigns) not in self._clients:
                self._clients[endpoint, presigns] = self._build(endpoint, presigns=presigns)
            return self._clients[endpoint, presigns]

    def _session(self, *, presigns: bool) -> boto3.session.Session:
        settings = self._settings
        key, secret = settings.access_key_id, settings.secret_access_key
        if presigns and settings.presign_access_key_id:
            key, secret = settings.presign_access_key_id, settings.presign_secret_access_key
        return boto3.session.Session(
            aws_access_key_id=key.get_secret_value() if key else None,
            aws_secret_access_key=secret.get_secret_value() if secret else None,
            region_name=settings.region,
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
        """Raise Unavailable unless both buckets answer."""
        with translating():
            for bucket in (self._settings.upload_bucket, self._settings.completed_bucket):
                self.client.head_bucket(Bucket=bucket)
