"""Renditions on request, among processes that die, images that fail, and callers who ask for too much."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from postgres_proxy import PostgresProxy
from published import make_and_store
from pydantic import SecretStr
from service import Api, Platform, make_photo, wait_for

from shared_lib import settings
from shared_lib.database.connection import Database
from shared_lib.delivery.engine import Found, Made
from shared_lib.delivery.order import Order
from shared_lib.errors import NotFound, Rejected, TooManyAttempts, Unavailable
from shared_lib.repositories.deliveries import Claimed
from shared_lib.runtime import Runtime


@pytest.fixture
def image(api: Api) -> UUID:
    uuid = api.upload(make_photo())
    api.await_end(uuid)
    return UUID(uuid)


def order(rt: Runtime, image: UUID, options: str) -> Order:
    return rt.delivery.urls.read(options, f"{image}.webp", "any", granted=True)


@pytest.fixture
def other(rt: Runtime) -> Iterator[Runtime]:
    """Another process, with little patience."""
    delivery = rt.settings.delivery.model_copy(update={"wait_seconds": 0.3, "new_per_hour": 3})
    another = Runtime(rt.settings.model_copy(update={"delivery": delivery}))
    yield another
    another.sandbox.close()
    another.database.disconnect()


def test_a_process_that_dies_leaves_a_claim_that_ends(rt: Runtime, other: Runtime, image: UUID) -> None:
    found = rt.delivery.engine.find(order(rt, image, "w=41"))
    assert rt.deliveries.claim(image, found.recipe.hash, seconds=60, most=9), "and then it dies"
    with pytest.raises(Unavailable) as waited:
        other.delivery.engine.make(found)
    assert (waited.value.code, waited.value.retry_after) == ("rendition_pending", 2)

    with rt.database.transaction() as tx:
        tx.rows("UPDATE deliveries SET claimable_at = now() - interval '1 s' WHERE image_id = :image", image=image)

    assert make_and_store(other, found).how == "stored"


@pytest.fixture
def proxied(rt: Runtime) -> Iterator[tuple[Runtime, PostgresProxy]]:
    """Another process that waits for three seconds, and the proxy between it and the database."""
    with PostgresProxy(rt.settings.database.url.get_secret_value()) as proxy:
        database = rt.settings.database.model_copy(update={"url": SecretStr(proxy.url)})
        delivery = rt.settings.delivery.model_copy(update={"wait_seconds": 3})
        another = Runtime(rt.settings.model_copy(update={"database": database, "delivery": delivery}))
        yield another, proxy
        another.sandbox.close()
        another.database.disconnect()


def test_a_request_that_waits_for_another_process_looks_ever_more_rarely(
    rt: Runtime, image: UUID, proxied: tuple[Runtime, PostgresProxy]
) -> None:
    waiting, proxy = proxied
    found = waiting.delivery.engine.find(order(rt, image, "w=47"))
    assert rt.deliveries.claim(image, found.recipe.hash, seconds=60, most=9)
    proxy.forget()

    with pytest.raises(Unavailable):
        waiting.delivery.engine.make(found)

    assert 5 <= len(proxy.statements) <= 12


def test_new_renditions_of_an_image_are_bounded_and_known_ones_are_not(
    rt: Runtime, other: Runtime, image: UUID
) -> None:
    orders = [order(rt, image, f"w={width}") for width in (11, 12, 13, 14)]
    for each in orders[:3]:
        make_and_store(other, other.delivery.engine.find(each))

    with pytest.raises(TooManyAttempts):
        other.delivery.engine.make(other.delivery.engine.find(orders[3]))

    assert other.delivery.engine.find(orders[0]).stored


def test_a_process_that_is_to_make_too_many_refuses_more_at_once_and_sends_what_is_stored(
    rt: Runtime, image: UUID
) -> None:
    stored = rt.delivery.engine.find(order(rt, image, "w=21"))
    make_and_store(rt, stored)
    crowd = [rt.delivery.engine.find(order(rt, image, f"w={width},blur=30")) for width in range(300, 324)]

    def try_to_make(found: Found) -> str:
        try:
            return rt.delivery.engine.make(found).how
        except TooManyAttempts as error:
            return error.code

    with ThreadPoolExecutor(len(crowd)) as pool:
        ends = list(pool.map(try_to_make, crowd))
        assert rt.delivery.engine.find(stored.order).stored

    assert set(ends) == {"stored", "busy"}
    assert ends.count("stored") >= 8


def test_a_few_callers_are_not_refused_because_their_earlier_renditions_are_still_being_stored(
    rt: Runtime, image: UUID
) -> None:
    def ask(caller: int) -> list[str]:
        found = [rt.delivery.engine.find(order(rt, image, f"w={400 + 3 * caller + turn}")) for turn in range(3)]
        return [rt.delivery.engine.make(each).how for each in found]

    with ThreadPoolExecutor(8) as pool:
        ends = list(pool.map(ask, range(8)))

    assert ends == [["stored"] * 3] * 8


def test_what_cannot_be_made_is_tried_once(rt: Runtime, image: UUID) -> None:
    too_large = order(rt, image, "w=8000,h=8000,fit=fill,enlarge=1")
    with pytest.raises(Rejected):
        rt.delivery.engine.make(rt.delivery.engine.find(too_large))

    with pytest.raises(Rejected, match="pixels"):
        rt.delivery.engine.find(too_large)


def test_a_rendition_whose_original_was_missing_is_made_once_that_is_back(rt: Runtime, image: UUID) -> None:
    found = rt.delivery.engine.find(order(rt, image, "w=43"))
    key = found.image.original_key
    data = rt.gallery.read(key)
    assert data
    rt.gallery.delete(key)
    try:
        with pytest.raises(NotFound, match="original is missing"):
            rt.delivery.engine.make(found)
    finally:
        rt.gallery.put(key, data, found.image.form.content_type)

    assert make_and_store(rt, found).how == "stored"


def test_a_rendition_whose_object_is_lost_is_made_again_for_the_same_request(rt: Runtime, image: UUID) -> None:
    found = rt.delivery.engine.find(order(rt, image, "w=47"))
    made = make_and_store(rt, found)
    assert made.data
    for span in (None, range(2, 5)):
        rt.gallery.delete(made.stored.key)

        assert rt.delivery.engine.open(found, made.stored, span) == (made.data[2:5] if span else made.data)

        wait_for(lambda: rt.deliveries.find(image, found.recipe.hash), lambda state: state == made.stored)


@contextmanager
def refusing_claims(platform: Platform, image: UUID, recipe: str) -> Iterator[None]:
    """Have a rendition look free, and each claim come too late, as among processes that take it from one another."""
    url = platform.environment["DATABASE_URL"].replace("//images_owner@/", "//postgres@/")
    database = Database(settings.Database(url=SecretStr(url)))
    statements = (
        "CREATE FUNCTION refuse_claim() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        f"""
            CREATE TRIGGER refuse BEFORE UPDATE ON deliveries FOR EACH ROW WHEN (old.recipe_hash = '{recipe}')
            EXECUTE FUNCTION refuse_claim()
        """,
    )
    free = """
        INSERT INTO deliveries (tenant_id, image_id, recipe_hash, claimable_at)
        VALUES ('default', :image, :recipe, now() - interval '1 s')
    """
    try:
        with database.transaction() as tx:
            for each in statements:
                tx.rows(each)
            tx.rows(free, image=image, recipe=recipe)
        yield
    finally:
        with database.transaction() as tx:
            tx.rows("DROP FUNCTION IF EXISTS refuse_claim CASCADE")
        database.disconnect()


def test_a_request_whose_claim_never_comes_ends_in_time(
    platform: Platform, rt: Runtime, other: Runtime, image: UUID
) -> None:
    found = rt.delivery.engine.find(order(rt, image, "w=48"))
    with ThreadPoolExecutor(1) as pool, refusing_claims(platform, image, found.recipe.hash):
        future = pool.submit(other.delivery.engine.make, found)
        with pytest.raises(Unavailable) as waited:
            future.result(10)

    assert waited.value.code == "rendition_pending"


@contextmanager
def making(rt: Runtime, api: Api, options: str) -> Iterator[tuple[Found, Future[Made]]]:
    """Have a rendition of a new image made during the block, which begins when it is claimed."""
    image = UUID(api.upload(make_photo(1600, 1200)))
    api.await_end(f"{image}")
    found = rt.delivery.engine.find(order(rt, image, options))
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(rt.delivery.engine.make, found)
        wait_for(lambda: isinstance(rt.deliveries.find(image, found.recipe.hash), Claimed), bool)
        yield found, future


def test_a_rendition_is_sent_before_it_is_stored_and_to_others_from_memory(
    rt: Runtime, other: Runtime, api: Api
) -> None:
    with making(rt, api, "blur=99") as (found, future):
        image = found.image.uuid
        with rt.database.transaction() as tx:
            tx.rows("SELECT claim FROM deliveries WHERE image_id = :image FOR UPDATE", image=image)

            made = future.result()
            again = rt.delivery.engine.make(rt.delivery.engine.find(found.order))

            assert made.storing
            assert not made.storing.done()
            assert (again.how, again.data) == ("collapsed", made.data)

    made.storing.result(30)
    assert other.delivery.engine.find(found.order).stored == made.stored


def test_an_image_that_is_deleted_while_a_rendition_is_made_leaves_nothing(rt: Runtime, api: Api) -> None:
    with making(rt, api, "blur=100") as (found, future):
        image = found.image.uuid
        api("DELETE", f"/images/{image}")
        assert not is_cleaned_up(rt, image), "an object may still be written"
        made = future.result()

    assert made.storing
    made.storing.result(30)
    with pytest.raises(NotFound):
        rt.delivery.engine.find(found.order)
    assert list(rt.gallery.list(f"{image}/")) == []
    rt.finisher.clean_up(image)
    assert is_cleaned_up(rt, image)


def is_cleaned_up(rt: Runtime, image: UUID) -> bool:
    with rt.database.transaction() as tx:
        [row] = tx.rows("SELECT cleaned_up_at FROM images WHERE uuid = :image", image=image)
    return row["cleaned_up_at"] is not None


def test_a_rendition_that_nobody_asks_for_is_deleted_after_its_retention(rt: Runtime, image: UUID) -> None:
    unused, used = (rt.delivery.engine.find(order(rt, image, f"w={width}")) for width in (43, 44))
    made = [make_and_store(rt, each).stored for each in (unused, used)]

    def let_days_pass(days: int) -> None:
        with rt.database.transaction() as tx:
            tx.rows(
                "UPDATE deliveries SET used_at = used_at - make_interval(days => :days) WHERE image_id = :image",
                days=days,
                image=image,
            )

    let_days_pass(29)
    assert rt.delivery.engine.find(used.order).stored
    let_days_pass(2)

    rt.reconciliation.run()

    wait_for(lambda: rt.delivery.engine.find(unused.order).stored, lambda stored: stored is None)
    assert rt.gallery.head(made[0].key), "a worker may be storing the same for a request by name"

    comparison = replace(rt.reconciliation.comparison, settling=timedelta(0))
    comparison.begin()
    impatient = replace(rt.reconciliation, comparison=comparison)
    wait_for(impatient.run, lambda _: rt.gallery.head(made[0].key) is None)
    assert rt.gallery.head(made[1].key)


def test_a_rendition_that_expires_is_kept_if_the_image_has_the_same_by_name(rt: Runtime, api: Api) -> None:
    image = UUID(api.upload(make_photo()))
    api.await_end(f"{image}")
    found = rt.delivery.engine.find(rt.delivery.urls.read("web", f"{image}", "any", granted=True))
    made = make_and_store(rt, found).stored
    api("POST", "/images/actions/process", json={"uuid": f"{image}", "preset": "web"})
    wait_for(lambda: api("GET", f"/images/{image}").json()["pendingRenditions"], lambda pending: not pending)
    with rt.database.transaction() as tx:
        tx.rows("UPDATE deliveries SET used_at = now() - interval '31 days' WHERE image_id = :image", image=image)

    rt.reconciliation.run()

    assert rt.gallery.head(made.key)
    assert api("GET", f"/images/{image}/renditions/web").status_code == 200


def test_the_comparison_of_the_gallery_keeps_renditions_that_urls_asked_for(rt: Runtime, image: UUID) -> None:
    made = make_and_store(rt, rt.delivery.engine.find(order(rt, image, "w=45"))).stored

    assert rt.drift.is_referenced(made.key)
    assert made.key in list(rt.drift.list_delivery_keys(f"{image}/"))[:2]
