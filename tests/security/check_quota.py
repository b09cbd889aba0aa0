"""1,000 upload URLs for 10 GB at once, of a tenant that may have 1 GB. A part of `make check-security`."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
import requests
from pydantic import SecretStr
from service import Platform, make_keys_of, start_platform, wait_for

from shared_lib import settings
from shared_lib.database.connection import Database
from shared_lib.repositories.drift import URL_SKEW_SECONDS
from shared_lib.storage.buckets import Inbox
from shared_lib.storage.store import Store

QUOTA, SIZE, URLS = 1_000_000_000, 10_000_000, 1000
URL_SECONDS = 300


@pytest.fixture
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    running = start_platform(
        tmp_path_factory.mktemp("quota"),
        AUTH_MODE="required",
        QUOTA_BYTES=f"{QUOTA}",
        RATE_UPLOADS_PER_MINUTE="0",
        PROCESSING_UPLOAD_URL_SECONDS=f"{URL_SECONDS}",
    )
    yield running
    assert running.stop() == 0


def test_no_more_is_stored_than_the_quota_and_nothing_is_left_of_what_never_came(service: Platform) -> None:
    headers = {"X-API-Key": make_keys_of(service)("editor")}
    announced = {"extension": "jpg", "sizeBytes": SIZE}
    noise = os.urandom(SIZE)

    def announce(_: int) -> requests.Response:
        url = f"{service.url}/api/v1/images/actions/upload-url"
        return requests.post(url, json=announced, headers=headers, timeout=120)

    def put(answer: requests.Response) -> int:
        signed = answer.json()
        return requests.put(signed["presignedUrl"], noise, headers=signed["headers"], timeout=120).status_code

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(announce, range(URLS)))
        granted = [each for each in answers if each.status_code == 201]
        assert len(granted) == QUOTA // SIZE
        assert {each.json()["code"] for each in answers if each not in granted} == {"quota_exceeded"}
        assert list(pool.map(put, granted[::2])) == [200] * (len(granted) // 2), "the others never come"

    environ = service.environment
    database = Database(settings.Database(url=SecretStr(environ["DATABASE_URL"])))
    store = settings.Store.model_validate(
        {
            "endpoint_url": environ["S3_ENDPOINT_URL"],
            "access_key_id": environ["S3_ACCESS_KEY_ID"],
            "secret_access_key": environ["S3_SECRET_ACCESS_KEY"],
        }
    )
    inbox = Inbox(Store(store), store.upload_bucket)
    uuids = [UUID(each.json()["uuid"]) for each in granted]

    with database.transaction() as tx:  # a PUT may end so long after its URL
        late = URL_SECONDS + URL_SKEW_SECONDS
        tx.rows("UPDATE images SET due_at = due_at - make_interval(secs => :late) WHERE due_at IS NOT NULL", late=late)

    def list_rows() -> list[object]:
        with database.transaction() as tx:
            return [*tx.rows("SELECT 1 FROM images WHERE uuid = ANY(:uuids) AND status <> 'failed'", uuids=uuids)]

    assert wait_for(list_rows, lambda rows: not rows, seconds=150) == []
    assert sum(each.size for each in inbox.list()) == 0, "what is no image is deleted at once"
    database.disconnect()
