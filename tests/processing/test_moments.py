"""What is read of an image is of one moment, although others change it meanwhile."""

import threading
from collections.abc import Callable
from uuid import uuid4

import pytest
from postgres_proxy import Break, PostgresProxy
from service import make_photo, wait_for

from shared_lib import background
from shared_lib.domain.images import ImageNotFound
from shared_lib.errors import NotFound
from shared_lib.repositories import originals
from shared_lib.runtime import Runtime

Proxied = tuple[Runtime, PostgresProxy]


def after(change: Callable[[], object]) -> Break:
    """Make a change before the answer to a statement arrives, and so before the next statement."""

    def make(rest: bytes) -> bytes:
        change()
        return rest

    return make


def test_an_image_whose_upload_arrives_meanwhile_is_not_missing(apart: Runtime, proxied: Proxied) -> None:
    rt, proxy = proxied
    apart.images.reserve(uuid := uuid4(), "late.jpg")
    rt.database.ping()
    proxy.break_answer(0, after(lambda: apart.images.mark_arrived([uuid])))

    with pytest.raises(ImageNotFound) as missing:
        rt.image_queries.get(uuid)

    assert missing.value.code == "image_awaits_upload"
    assert rt.image_queries.get(uuid).filename == "late.jpg"


def test_a_rendition_that_is_published_meanwhile_is_not_missing(apart: Runtime, proxied: Proxied) -> None:
    rt, proxy = proxied
    uuid = apart.ingestion.ingest("soon.jpg", None, make_photo(), "image/jpeg")
    rt.database.ping()
    proxy.break_answer(0, after(lambda: apart.processor.process(uuid)))

    with pytest.raises(NotFound) as missing:
        rt.renditions.find(uuid, "thumbnail")

    assert missing.value.code == "rendition_pending"
    assert rt.renditions.find(uuid, "thumbnail").thumbnail


def test_an_original_whose_removal_ends_meanwhile_is_named(apart: Runtime, proxied: Proxied) -> None:
    rt, proxy = proxied
    key, may_end = f"originals/{uuid4()}.jpg", threading.Event()

    def delete(_key: str) -> None:
        may_end.wait(10)

    def end_removal() -> None:
        may_end.set()
        removal.result()

    def is_reserved() -> bool:
        with apart.database.transaction() as tx:
            return bool(tx.rows("SELECT 1 FROM original_removals WHERE key = :key", key=key))

    removal = background.start(lambda: apart.originals.release(key, delete), "removal")
    wait_for(is_reserved, bool)
    rt.database.ping()
    proxy.break_answer(0, after(end_removal))

    named = originals.name(rt.database, key, f"SELECT 1 AS named WHERE {originals.NOT_BEING_REMOVED}")

    assert named == {"named": 1}


def test_a_rendition_that_another_process_gives_up_meanwhile_is_not_one_too_many(
    apart: Runtime, proxied: Proxied
) -> None:
    rt, proxy = proxied
    uuid = apart.ingestion.ingest("wanted.jpg", None, make_photo(), "image/jpeg")
    apart.processor.process(uuid)
    claim = apart.deliveries.claim(uuid, "recipe", seconds=60, most=1)
    assert claim
    rt.database.ping()
    proxy.break_answer(0, after(lambda: apart.deliveries.release(uuid, "recipe", claim)))

    assert rt.deliveries.claim(uuid, "recipe", seconds=60, most=1) is None
    assert rt.deliveries.claim(uuid, "recipe", seconds=60, most=1)
