"""Find out at bootstrap what the object store denies and supports.

Clients use the store directly through presigned URLs, and no function checks those requests. Stores differ in what else
such a URL allows, and an upgrade may make a safe one unsafe. So each bootstrap tries what a client could try.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import urllib3
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from urllib3.exceptions import HTTPError

from shared_lib.domain.uploads import PROBES
from shared_lib.errors import ServiceError, Unavailable
from shared_lib.observability import get_logger
from shared_lib.settings import Store as StoreSettings
from shared_lib.storage.store import STORE, Missing, Store

log = get_logger()

TEXT = b"only the service may read this"
TYPE = "text/plain"


class UnsafeStore(ServiceError):
    """The store allows what the service relies on it to deny."""

    code = "unsafe_store"


@dataclass(frozen=True)
class Check:
    """One request, and whether the store answered as it should."""

    name: str
    passed: bool
    consequence: str
    """Of failing, as a sentence for operators."""
    unsafe: bool = True


class StoreProbe:
    def __init__(self, settings: StoreSettings) -> None:
        self._store = Store(settings)
        self._settings = settings
        self._http = urllib3.PoolManager(timeout=settings.timeout_seconds, retries=False, ca_certs=settings.ca_file)
        self._key = f"{PROBES}{uuid4()}"

    def run(self) -> list[Check]:
        """Run all checks, log those that failed, and delete the probes.

        Raises UnsafeStore if an unsafe check failed, unless it is among `S3_ACCEPTED_RISKS`.
        """
        try:
            stored = [
                self._store.send("PUT", bucket, self._key, body=TEXT)
                for bucket in (self._settings.upload_bucket, self._settings.completed_bucket)
            ]
            versioning = Check(
                "versioned-buckets",
                not any(answer.headers.get("x-amz-version-id", "null") != "null" for answer in stored),
                "The buckets keep old versions, so what is erased stays: suspend versioning, and delete them",
            )
            checks = [versioning, *self._try_without_signature(), *self._try_upload_url(), *self._try_features()]
        except HTTPError as error:
            raise Unavailable(f"{STORE} is out of reach") from error
        finally:
            self._clean_up()
        _judge(checks, self._settings.accepted_risks)
        return checks

    def _try_without_signature(self) -> Iterator[Check]:
        gallery = f"{self._settings.endpoint_url.rstrip('/')}/{self._settings.completed_bucket}"
        inbox = f"{self._settings.endpoint_url.rstrip('/')}/{self._settings.upload_bucket}"
        everyone = "Everyone who reaches the store may {}, without any signature"
        yield self._expect_denial("anonymous-read", everyone.format("read images"), "GET", f"{gallery}/{self._key}")
        yield self._expect_denial("anonymous-list", everyone.format("list images"), "GET", gallery)
        yield self._expect_denial("anonymous-write", everyone.format("write"), "PUT", f"{inbox}/{self._key}")

    def _try_upload_url(self) -> Iterator[Check]:
        """Try what a client can do with the URL of one upload."""
        url, secret = self._sign(), f"/{self._settings.completed_bucket}/{self._key}"
        answer = self._http.request("PUT", url, body=TEXT)  # the object that the others must not reach
        yield Check("upload-url", answer.status == 200, "Upload URLs do not work: their key may not put", unsafe=False)
        yield self._expect_denial(
            "copy-source",
            "With an upload URL, anyone can copy any object that the signing key can read into the upload: "
            "give URLs a key pair of their own that may only put, by S3_PRESIGN_ACCESS_KEY_ID",
            "PUT",
            url,
            {"x-amz-copy-source": secret},
            body=b"",
        )
        yield self._expect_denial("other-key", "An upload URL is good for other objects", "PUT", url.replace("?", "2?"))
        yield self._expect_denial("other-method", "With an upload URL, anyone can read the upload", "GET", url)
        yield self._expect_denial("expired-url", "Upload URLs are good for ever", "PUT", self._sign_long_ago())
        signed = self._sign({"Content-Length": f"{len(TEXT)}", "Content-Type": TYPE})
        yield self._expect_denial("other-size", "Signed sizes are not kept", "PUT", signed, {}, TEXT + b".", safe=True)
        yield self._expect_denial(
            "other-type", "Signed types are not kept", "PUT", signed, {"Content-Type": "text/html"}, safe=True
        )
        for header in ("x-amz-meta-any", "x-amz-tagging", "x-amz-acl"):
            value = {"x-amz-acl": "public-read"}.get(header, "a=b")
            consequence = f"With an upload URL, anyone can add {header}, which the service ignores"
            yield self._expect_denial(f"unsigned-{header}", consequence, "PUT", url, {header: value}, safe=True)

    def _try_features(self) -> Iterator[Check]:
        """Try them with the service's own key, in the bucket without notifications."""
        place = self._settings.completed_bucket, self._key
        part = self._store.send("GET", *place, headers={"Range": "bytes=0-3"})
        passed = (part.status, part.data) == (206, TEXT[:4])
        yield Check("ranges", passed, "Parts of renditions cannot be sent: the store ignores Range", unsafe=False)
        consequence = "The store ignores If-None-Match: an upload URL for a known size can be used twice"
        yield Check("conditional-put", self._denies_second_put(place), consequence, unsafe=False)

    def _denies_second_put(self, place: tuple[str, str]) -> bool:
        try:
            self._store.send("PUT", *place, headers={"If-None-Match": "*"}, body=TEXT)
        except Missing:
            return True
        except Unavailable:  # some answer that they don't implement it
            return False
        return False

    def _expect_denial(  # noqa: PLR0913, PLR0917  a request, and what it would mean
        self,
        name: str,
        consequence: str,
        method: str,
        url: str,
        headers: dict[str, str] | None = None,
        body: bytes = TEXT,
        *,
        safe: bool = False,
    ) -> Check:
        sent = {"Content-Type": TYPE, **(headers or {})}
        answer = self._http.request(method, url, body=body if method == "PUT" else None, headers=sent)
        if answer.status >= 500:
            raise Unavailable(f"{STORE} cannot answer now")
        return Check(name, answer.status >= 400, consequence, unsafe=not safe)

    def _sign(self, headers: Mapping[str, str] = {}) -> str:
        return self._store.sign_put(self._settings.upload_bucket, self._key, 60, headers, public=False)

    def _sign_long_ago(self) -> str:
        url = f"{self._settings.endpoint_url.rstrip('/')}/{self._settings.upload_bucket}/{self._key}"
        request = AWSRequest("PUT", url)
        _Yesterday(self._store.find_upload_keys(), "s3", self._settings.region, expires=60).add_auth(request)
        return str(request.url)

    def _clean_up(self) -> None:
        for bucket in (self._settings.completed_bucket, self._settings.upload_bucket):
            for key in (self._key, f"{self._key}2"):
                self._store.send("DELETE", bucket, key)


class _Yesterday(S3SigV4QueryAuth):
    """Signs with yesterday's date."""

    def _modify_request_before_signing(self, request: AWSRequest) -> None:
        moment = datetime.now(UTC) - timedelta(days=1)
        request.context["timestamp"] = moment.strftime("%Y%m%dT%H%M%SZ")
        super()._modify_request_before_signing(request)  # type: ignore[misc]  # its stubs leave it out


def _judge(checks: Iterable[Check], accepted: tuple[str, ...]) -> None:
    failed = [check for check in checks if not check.passed]
    denied = [check for check in failed if check.unsafe and check.name not in accepted]
    for check in failed:
        write: Callable[..., None] = log.error if check in denied else log.warning
        write("store_check_failed", check=check.name, consequence=check.consequence, unsafe=check.unsafe)
    if denied:
        reasons = "; ".join(f"{check.name}: {check.consequence}" for check in denied)
        names = ",".join(check.name for check in denied)
        raise UnsafeStore(
            f"The store is not safe to use. {reasons}. To use it all the same, set S3_ACCEPTED_RISKS={names}"
        )
    log.info("store_checked", passed=[check.name for check in checks if check.passed])
