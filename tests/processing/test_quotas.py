"""Quotas and rates hold for all pods together, and stocks agree with the rows."""

import time
from concurrent import futures
from uuid import uuid4

import pytest

from shared_lib.constraints import DEFAULT_TENANT
from shared_lib.database.connection import acting_for
from shared_lib.domain.principals import Principal, Role
from shared_lib.domain.rates import Rate
from shared_lib.errors import Forbidden
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
    rates = apart.settings.rates.model_copy(update={"tenant_requests_per_minute": 3, "tenant_uploads_per_minute": 0})
    limiter = RateLimiter(rates, Rates(apart.database))
    callers = [Principal(f"key:{uuid4()}", Role.VIEWER, "shares-a-rate") for _ in range(4)]

    with acting_for("shares-a-rate"):
        standings = [limiter.take(each, "uploads") for each in callers]

    assert [each[-1].granted for each in standings] == [True, True, True, False]
    assert [each.rate.policy for each in standings[0]] == ["requests", "uploads", "tenant-requests"]
    other = Principal(f"key:{uuid4()}", Role.VIEWER, "another-tenant")
    with acting_for("another-tenant"):
        assert limiter.take(other, "requests")[-1].granted


def test_the_stocks_are_what_there_is(apart: Runtime) -> None:
    direct, reserved = uuid4(), uuid4()
    apart.images.create(direct, "a.jpg", None, 100)
    apart.images.reserve(reserved, "b.jpg", reserved=1000)
    before = read_stocks(apart)
    apart.images.delete(direct)
    with apart.database.transaction() as tx:
        tx.rows("UPDATE images SET size_bytes = 70 WHERE uuid = :uuid", uuid=reserved)
    assert read_stocks(apart) == (before[0] - 1, before[1] - 100 - 1000 + 70)

    with apart.database.transaction() as tx:
        found = tx.rows("""
            SELECT count(*) AS images, sum(coalesce(size_bytes, reserved_bytes, 0))::bigint AS bytes FROM images
            WHERE deleted_at IS NULL
        """)[0]
    assert read_stocks(apart) == (found["images"], found["bytes"])


def read_stocks(rt: Runtime) -> tuple[int, int]:
    with rt.database.transaction() as tx:
        row = tx.rows("SELECT sum(images)::bigint AS images, sum(bytes)::bigint AS bytes FROM image_stocks")[0]
    return row["images"], row["bytes"]


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
