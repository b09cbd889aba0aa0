"""Requests to the object store, and its errors. botocore signs them, urllib3 sends them.

A function sends the few requests of `buckets.py` and `multipart.py`. boto3 would add 0.15 s to its start, 20 MB to its
memory and 1 ms of processor time to each request. It sets up the store at bootstrap: see `sdk.py`.
"""

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import urllib3
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials, ReadOnlyCredentials
from botocore.exceptions import BotoCoreError
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError, MaxRetryError, SSLError

from shared_lib import metrics, tracing
from shared_lib.errors import Misconfigured, RequestRejected, Unavailable
from shared_lib.settings import Store as StoreSettings

if TYPE_CHECKING:
    from pydantic import SecretStr

STORE = "The object store"

_CODE = re.compile(rb"<Code>(\w+)</Code>")
_MAX_ERROR = 64 * 1024  # bytes that are read of an error
_TRY_AGAIN = ("RequestTimeout", "SlowDown")  # that S3 answers with 400 or 403, though they are about the moment
_WRONG_SETTINGS = ("AuthorizationHeaderMalformed", "InvalidBucketName", "IllegalLocationConstraintException")
_CONNECTIONS = 32  # that stay open between requests
RETRIES = urllib3.Retry(
    total=2,
    redirect=False,
    allowed_methods=None,  # all: a repeated PUT or DELETE leaves the same object
    status_forcelist=(429, 500, 502, 503, 504),
    raise_on_status=False,
    respect_retry_after_header=False,  # a caller waits
    backoff_factor=0.1,
    backoff_jitter=0.2,
)


class Missing(Misconfigured):
    """There is no such object, or another one than expected. Unless a caller expects that, the bucket is missing."""


@contextmanager
def translating() -> Iterator[None]:
    """Translate errors of urllib3 and botocore into the service's."""
    try:
        yield
    except HTTPError as error:
        cause = error.reason if isinstance(error, MaxRetryError) else error
        if isinstance(cause, SSLError):
            raise Misconfigured(STORE) from error
        raise Unavailable(f"{STORE} is out of reach") from error
    except BotoCoreError as error:  # of the service that gives out credentials
        raise Unavailable(f"{STORE} is out of reach") from error


def name_failure(status: int, code: str) -> Unavailable:
    """Tell apart an outage of the store, wrong settings, and a denied request."""
    if status >= 500 or status == 429 or code in _TRY_AGAIN:
        return Unavailable(f"{STORE} cannot answer now")
    # 301 and 307: the bucket is elsewhere.
    if status in (301, 307, 401, 403, 404) or code in _WRONG_SETTINGS:
        return Misconfigured(STORE)
    return RequestRejected(f"{STORE} rejected a request")


class StoreError(Exception):
    """The store's answer: the cause that is logged with an error."""

    def __init__(self, message: str, status: int = 0, code: str = "") -> None:
        """`code` is S3's."""
        super().__init__(message)
        self.status = status
        self.code = code


class Store:
    """An object store that speaks S3, with path-style addresses. All threads share its connections."""

    def __init__(self, settings: StoreSettings, *, retries: urllib3.Retry = RETRIES) -> None:
        self._settings = settings
        self._keys = _KeyPair(settings.access_key_id, settings.secret_access_key)
        self._upload_keys = self._keys
        if settings.presign_access_key_id:
            self._upload_keys = _KeyPair(settings.presign_access_key_id, settings.presign_secret_access_key)
        parts = urlsplit(settings.endpoint_url)
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._pool = urllib3.connection_from_url(
            settings.endpoint_url,
            maxsize=_CONNECTIONS,
            timeout=settings.timeout_seconds,
            retries=retries,
            **({"ca_certs": settings.ca_file} if settings.ca_file else {}),  # an http:// pool takes none
        )

        described = S3SigV4Auth(Credentials("", ""), "s3", settings.region).headers_to_sign(
            AWSRequest("GET", self._origin)
        )
        self._host: str = described["host"]  # which botocore would read from the address of each request, twice

    def send(  # noqa: PLR0913  the parts of a request
        self,
        method: str,
        bucket: str,
        key: str = "",
        *,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        sha256: str | None = None,
        stream: bool = False,
    ) -> BaseHTTPResponse:
        """Send a request, by default up to three times during an outage, and return the response if it is a success.

        `query` is percent-encoded. `sha256` is the body's, if the caller knows it, in hexadecimal. With `stream`, the
        response's body is still to be read, inside `translating()`.

        Raises Missing, Unavailable, Misconfigured or RequestRejected.
        """
        address = _address(self._settings.endpoint_url, bucket, key) + (f"?{query}" if query else "")
        request = AWSRequest(method, address, headers={"Host": self._host, **(headers or {})}, data=body)
        request.context["sha256"] = sha256
        attributes = {"http.request.method": method, "aws.s3.bucket": bucket}
        with (
            tracing.span(f"{method} {bucket}", "client", attributes),
            metrics.STORE_REQUESTS.time(partial(_label, method)),
        ):
            return self._send(method, request, f"{method} {bucket}", stream=stream)

    def _send(self, method: str, request: AWSRequest, name: str, *, stream: bool) -> BaseHTTPResponse:
        with translating():
            _Auth(self._keys.find(), "s3", self._settings.region).add_auth(request)
            response = self._pool.urlopen(
                method,
                str(request.url).removeprefix(self._origin),
                request.data,
                dict(request.headers.items()),
                preload_content=not stream,
                decode_content=False,
            )
            if response.status < HTTPStatus.MULTIPLE_CHOICES:
                return response
            answer = response.read(_MAX_ERROR) if stream else response.data
            response.close()
        raise to_error(name, response.status, answer)

    def sign_put(  # noqa: PLR0913  the parts of a request
        self,
        bucket: str,
        key: str,
        seconds: int,
        headers: Mapping[str, str],
        *,
        query: str = "",
        public: bool = True,
    ) -> str:
        """Return a URL that puts one object, with these headers, for that many seconds.

        A public one is for the address that API clients use.
        """
        endpoint = self._settings.public_url if public else self._settings.endpoint_url
        address = _address(endpoint, bucket, key) + (f"?{query}" if query else "")
        request = AWSRequest("PUT", address, headers=headers)
        with translating():
            keys = self._upload_keys.find()
            S3SigV4QueryAuth(keys, "s3", self._settings.region, expires=seconds).add_auth(request)
        return str(request.url)

    def find_upload_keys(self) -> ReadOnlyCredentials:
        """Return the keys that sign upload URLs."""
        with translating():
            return self._upload_keys.find()

    def ping(self) -> None:
        """Raise Unavailable unless both buckets answer."""
        for bucket in (self._settings.upload_bucket, self._settings.completed_bucket):
            self.send("HEAD", bucket)


class _Auth(S3SigV4Auth):
    """botocore's, which does not hash a body again whose hash is known."""

    def payload(self, request: AWSRequest) -> str:
        return request.context["sha256"] or super().payload(request)


class _KeyPair:
    """An access key and its secret, from the settings or from where the AWS SDK finds them."""

    def __init__(self, key: "SecretStr | None", secret: "SecretStr | None") -> None:
        self._given = Credentials(key.get_secret_value(), secret.get_secret_value()) if key and secret else None
        self._finding = threading.Lock()

    def find(self) -> ReadOnlyCredentials:
        with self._finding:
            if self._given is None:
                self._given = _ask_sdk()
        return self._given.get_frozen_credentials()  # those of a pod's identity are renewed here


def _label(method: str, error: BaseException | None) -> metrics.StoreRequest:
    outcomes = {Missing: "missing", Misconfigured: "misconfigured", RequestRejected: "rejected"}
    outcome = next((name for kind, name in outcomes.items() if isinstance(error, kind)), "unavailable")
    return metrics.StoreRequest(method, outcome if error else "succeeded")


def _ask_sdk() -> Credentials:
    from botocore.session import Session  # noqa: PLC0415  most installations give keys, and need not load it

    found = Session().get_credentials()
    if found is None:
        raise Misconfigured(STORE) from StoreError("S3_ACCESS_KEY_ID is not set, and the AWS SDK finds no credentials")
    return found


def _address(endpoint: str, bucket: str, key: str) -> str:
    return f"{endpoint.rstrip('/')}/{bucket}" + (f"/{quote(key, safe='/~')}" if key else "")


def to_error(request: str, status: int, answer: bytes) -> Unavailable:
    """Return the error for what the store answered, with its cause."""
    found = _CODE.search(answer)
    code = found[1].decode() if found else ""
    missing = (status == 404 and code != "NoSuchBucket") or status == 412
    error = Missing(STORE) if missing else name_failure(status, code)
    error.__cause__ = StoreError(f"{request}: {status} {code}".rstrip(), status, code)
    return error
