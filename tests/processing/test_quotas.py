"""Quotas and rates hold for all pods together, and stocks agree with the rows."""

import time
from collections.abc import Iterator
from concurrent import futures
from uuid import UUID, uuid4

import pytest
from published import make_and_store
from service import make_photo

from shared_lib.constraints import DEFAULT_TENANT
from shared_lib.database.connection import acting_for
from shared_lib.delivery.engine import Made
from shared_lib.domain.images import ImageStatus
from shared_lib.domain.principals import Principal, Role
from shared_lib.domain.rates import WINDOW_SECONDS, Rate
from shared_lib.errors import Forbidden, TooManyAttempts
from shared_lib.pipeline.recipe_schema import read_recipe
from shared_lib.repositories import stocks
from shared_lib.repositories.rates import Rates
from shared_lib.runtime import Runtime
from shared_lib.services.rate_limiting import RateLimiter


def test_many_uploads_at_once_do_not_exceed_a_quota(apart: Runtime) -> None:
    quotas = apart.settings.quotas.model_copy(update={"images": 10})
    limited = Runtime(apart.settings.model_copy(update={"quotas": quotas}))
    limited.database.default_tenant = DEFAULT_TENANT

    def reserve(_: int) -> bool:
        try:
            limited.images.reserve(uuid4(), "many.jpg")
        except Forbidden:
            return False
        return True

    with futures.ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(reserve, range(40))) == 10
    limited.database.disconnect()


def test_uploads_of_a_tenant_with_a_quota_wait_for_one_another(apart: Runtime) -> None:
    quotas = apart.settings.quotas.model_copy(update={"images": 1_000_000})
    limited = Runtime(apart.settings.model_copy(update={"quotas": quotas}))
    limited.database.default_tenant = DEFAULT_TENANT

    with futures.ThreadPoolExecutor(1) as pool:
        with apart.database.transaction() as tx:
            stocks.lock(tx, quotas)
            tx.row("SELECT 1")
            second = pool.submit(limited.images.reserve, uuid4(), "second.jpg")
            assert futures.wait([second], timeout=1).not_done
        second.result()
    limited.database.disconnect()


def test_only_so_many_announced_uploads_of_a_tenant_are_open(apart: Runtime) -> None:
    quotas = apart.settings.quotas.model_copy(update={"open_uploads": 2})
    limited = Runtime(apart.settings.model_copy(update={"quotas": quotas}))
    with acting_for("open-uploads"):
        opened = [uuid4() for _ in range(2)]
        for each in opened:
            limited.images.reserve(each, "announced.jpg")
        with pytest.raises(Forbidden, match="more than 2 uploads"):
            limited.images.reserve(uuid4(), "third.jpg")
        limited.images.create(uuid4(), "direct.jpg", None, 1)
        limited.images.mark_arrived(opened[:1])
        limited.images.reserve(uuid4(), "third.jpg")
    limited.database.disconnect()


def test_callers_of_a_tenant_share_its_rate(apart: Runtime) -> None:
    limits = {"tenant_requests_per_minute": 3, "tenant_uploads_per_minute": 0, "tenant_decoder_seconds_per_minute": 0}
    rates = apart.settings.rates.model_copy(update=limits)
    limiter = RateLimiter(rates, Rates(apart.database))
    callers = [Principal(f"key:{uuid4()}", Role.VIEWER, "shares-a-rate") for _ in range(4)]

    with acting_for("shares-a-rate"):
        standings = [limiter.take(each, "uploads") for each in callers]

    assert [each[-1].granted for each in standings] == [True, True, True, False]
    assert [each.rate.policy for each in standings[0]] == ["requests", "uploads", "decoder-seconds", "tenant-requests"]
    other = Principal(f"key:{uuid4()}", Role.VIEWER, "another-tenant")
    with acting_for("another-tenant"):
        assert limiter.take(other, "requests")[-1].granted


def test_a_caller_beyond_its_own_rate_takes_nothing_from_the_others_of_its_tenant(apart: Runtime) -> None:
    rates = apart.settings.rates.model_copy(update={"uploads_per_minute": 2, "tenant_uploads_per_minute": 10})
    limiter = RateLimiter(rates, Rates(apart.database))
    greedy, other = (Principal(f"key:{uuid4()}", Role.EDITOR, "has-a-greedy-caller") for _ in range(2))

    with acting_for("has-a-greedy-caller"):
        refused = [limiter.take(greedy, "uploads") for _ in range(20)][2:]
        left = {each.rate.policy: each.remaining for each in limiter.take(other, "uploads")}

    assert not any(all(each.granted for each in standings) for standings in refused)
    assert left["tenant-uploads"] >= 10 - 3


@pytest.fixture
def thrifty(apart: Runtime) -> Iterator[Runtime]:
    """A service that needs credentials. Its tenants may have two renditions, and decode for 20 seconds a minute."""
    auth = apart.settings.auth.model_copy(update={"mode": "required"})
    quotas = apart.settings.quotas.model_copy(update={"renditions": 2})
    rates = apart.settings.rates.model_copy(update={"tenant_decoder_seconds_per_minute": 20})
    runtime = Runtime(apart.settings.model_copy(update={"auth": auth, "quotas": quotas, "rates": rates}))
    yield runtime
    runtime.sandbox.close()
    runtime.broker.close()
    runtime.database.disconnect()


def deliver(rt: Runtime, image: UUID, options: str) -> Made:
    return make_and_store(
        rt, rt.delivery.engine.find(rt.delivery.urls.read(options, f"{image}.webp", "any", granted=True))
    )


def make_image(rt: Runtime) -> UUID:
    """Upload and process an image of the tenant that the caller acts for."""
    image = rt.ingestion.ingest("photo.jpg", None, make_photo(), "image/jpeg")
    rt.processor.process(image)
    return image


def test_a_tenant_that_has_used_up_its_decoder_seconds_waits_and_reads_on(thrifty: Runtime) -> None:
    caller = Principal(f"key:{uuid4()}", Role.EDITOR, "decodes-much")
    with acting_for(caller.tenant):
        image = make_image(thrifty)
        deliver(thrifty, image, "w=20")
        assert 0 < thrifty.rate_limiter.take(caller, "uploads")[-1].full_in < WINDOW_SECONDS, "both were counted"
        thrifty.rate_limiter.charge_decoding(caller.tenant, None, 40)

        upload = thrifty.rate_limiter.take(caller, "uploads")[-1]
        assert (upload.granted, upload.remaining, upload.rate.policy) == (False, 0, "tenant-decoder-seconds")
        assert WINDOW_SECONDS < upload.retry_after < 3 * WINDOW_SECONDS, "the debt is paid first"
        assert {each.granted for each in thrifty.rate_limiter.take(caller, "requests")} == {True}
        with pytest.raises(TooManyAttempts, match="At most 20 decoder seconds a minute"):
            deliver(thrifty, image, "w=21")
        assert deliver(thrifty, image, "w=20").how == "hit"

    other = Principal(f"key:{uuid4()}", Role.EDITOR, "decodes-little")
    with acting_for(other.tenant):
        assert thrifty.rate_limiter.take(other, "uploads")[-1].granted


def test_a_failed_image_uses_decoder_seconds_too(thrifty: Runtime) -> None:
    caller = Principal(f"key:{uuid4()}", Role.EDITOR, "decodes-in-vain")
    with acting_for(caller.tenant):
        image = thrifty.ingestion.ingest("broken.jpg", None, make_photo()[:900], "image/jpeg")
        thrifty.processor.process(image)

        assert thrifty.image_queries.get(image).status is ImageStatus.FAILED
        assert thrifty.rate_limiter.take(caller, "uploads")[-1].full_in > 0


def test_a_tenant_has_no_more_renditions_than_its_quota(thrifty: Runtime) -> None:
    recipe = read_recipe({"name": "small", "operations": [{"kind": "resize", "width": 30}]})
    with acting_for("has-renditions"):
        image = make_image(thrifty)
        deliver(thrifty, image, "w=22")  # with the thumbnail there are two
        refused = (
            lambda: deliver(thrifty, image, "w=23"),
            lambda: thrifty.images.request(image, None, None, [recipe], describe=False),
            lambda: thrifty.images.create(uuid4(), "more.jpg", None, 1, [recipe]),
        )
        for attempt in refused:
            with pytest.raises(Forbidden, match="more than 2 renditions"):
                attempt()
        assert deliver(thrifty, image, "w=22").how == "hit"
        assert not thrifty.images.request(image, "renamed.jpg", None, describe=False)

        thrifty.images.delete(image)
        deliver(thrifty, make_image(thrifty), "w=23")


def test_only_so_many_images_of_a_tenant_wait_to_be_processed(apart: Runtime) -> None:
    quotas = apart.settings.quotas.model_copy(update={"waiting_images": 1})
    limited = Runtime(apart.settings.model_copy(update={"quotas": quotas}))
    with acting_for("waits"):
        image = limited.ingestion.ingest("first.jpg", None, make_photo(), "image/jpeg")
        with pytest.raises(Forbidden, match="more than 1 images that wait"):
            limited.images.create(uuid4(), "second.jpg", None, 1)
        apart.processor.process(image)
        limited.images.create(uuid4(), "second.jpg", None, 1)
    limited.broker.close()
    limited.database.disconnect()


def test_the_stocks_are_what_there_is(apart: Runtime) -> None:
    direct, reserved = uuid4(), uuid4()
    apart.images.create(direct, "a.jpg", None, 100)
    apart.images.reserve(reserved, "b.jpg", reserved=1000)
    deliver(apart, make_image(apart), "w=24")
    before = read_stocks(apart)
    apart.images.delete(direct)
    with apart.database.transaction() as tx:
        tx.rows("UPDATE images SET size_bytes = 70 WHERE uuid = :uuid", uuid=reserved)
    assert read_stocks(apart) == (before[0] - 1, before[1] - 100 - 1000 + 70, before[2])

    with apart.database.transaction() as tx:
        found = tx.rows("""
            SELECT count(*) AS images, sum(coalesce(size_bytes, reserved_bytes, 0))::bigint AS bytes,
                   (SELECT count(*) FROM renditions) + (SELECT count(*) FROM rendition_requests)
                   + (SELECT count(*) FROM deliveries) AS renditions
            FROM images WHERE deleted_at IS NULL
        """)[0]
    assert read_stocks(apart) == (found["images"], found["bytes"], found["renditions"])


def read_stocks(rt: Runtime) -> tuple[int, int, int]:
    with rt.database.transaction() as tx:
        row = tx.rows("""
            SELECT sum(images)::bigint AS images, sum(bytes)::bigint AS bytes, sum(renditions)::bigint AS renditions
            FROM image_stocks
        """)[0]
    return row["images"], row["bytes"], row["renditions"]


def test_four_pods_together_grant_no_more_than_one_bucket_holds(apart: Runtime) -> None:
    rate, principal = Rate("requests", 600), Principal(f"key:{uuid4()}", Role.VIEWER, DEFAULT_TENANT)
    pods = [Runtime(apart.settings) for _ in range(4)]
    until = time.monotonic() + 3

    def flood(pod: Runtime) -> int:
        granted = 0
        while time.monotonic() < until:
            granted += Rates(pod.database).take(principal, [rate])[0].granted
        return granted

    started = time.monotonic()
    with futures.ThreadPoolExecutor(4) as pool:
        granted = sum(pool.map(flood, pods))
    elapsed = time.monotonic() - started

    assert rate.most <= granted <= rate.most + elapsed / rate.interval + 1
    for pod in pods:
        pod.database.disconnect()


def test_a_bucket_that_is_full_again_is_forgotten(apart: Runtime) -> None:
    rates, principal = Rates(apart.database), Principal(f"key:{uuid4()}", Role.VIEWER, DEFAULT_TENANT)
    rates.take(principal, [Rate("requests", 1_000_000), Rate("uploads", 1)])
    time.sleep(0.01)

    rates.purge()

    with apart.database.transaction() as tx:
        left = tx.rows("SELECT name FROM rates WHERE principal = :name", name=principal.name)
    assert [each["name"] for each in left] == ["uploads"]
