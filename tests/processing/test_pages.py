"""Lists and collections have every image once, in order, with a consistent total, at any size."""

import random
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from itertools import count
from typing import Literal
from urllib.parse import urljoin
from uuid import UUID, uuid4

import pytest
import requests
from service import Api, wait_for

from shared_lib.domain.images import VISIBLE, ImageStatus
from shared_lib.domain.pages import Page, PageQuery, SortColumn, Total
from shared_lib.errors import NotFound
from shared_lib.repositories.pages import ALL, MAX_COUNTED, MAX_NUMBERED, REACH
from shared_lib.runtime import Runtime

FILL = """
    INSERT INTO images (uuid, filename, description, status, created_at, completed_at, collection_id, failure_code,
                        failure_message)
    SELECT gen_random_uuid(), :name || '-' || n || '.jpg', CASE n % 2 WHEN 0 THEN :name || ' described' END, status,
           now() - (n % 7) * interval '1 s', now(), CAST(:collection AS uuid),
           CASE status WHEN 'failed' THEN 'corrupt_image' END,
           CASE status WHEN 'failed' THEN 'for the test' END
    FROM (SELECT n, CASE n % 3 WHEN 0 THEN 'failed' ELSE 'succeeded' END AS status
          FROM generate_series(CAST(:first AS integer), CAST(:last AS integer)) AS n) AS numbers
"""
BATCH = 1000  # rows per statement, which has a limit of five seconds, even on a busy machine
INDEX = "images_by_text"
EMPTY = """
    DELETE FROM images WHERE uuid IN (SELECT uuid FROM images WHERE filename LIKE :name LIMIT :batch) RETURNING uuid
"""
ACTUAL_COUNTS = """
    SELECT status, count(*) AS images FROM images WHERE deleted_at IS NULL AND status <> 'awaiting_upload'
    AND (CAST(:uuid AS uuid) = '00000000-0000-0000-0000-000000000000' OR collection_id = :uuid) GROUP BY status
"""
KEPT_COUNTS = """
    SELECT CAST(sum(change) AS bigint) AS images, status FROM image_counts WHERE collection_id = :uuid
    GROUP BY status HAVING sum(change) <> 0
"""


def fill(rt: Runtime, name: str, images: int, collection: UUID | None = None) -> None:
    """Insert images by SQL, many of them created at the same instant. They have no objects."""
    for first in range(1, images + 1, BATCH):
        with rt.database.transaction() as tx:
            tx.rows(FILL, name=name, first=first, last=min(first + BATCH - 1, images), collection=collection)


def follow_cursors(rt: Runtime, query: PageQuery, statuses: tuple[ImageStatus, ...]) -> list[tuple[datetime, UUID]]:
    seen = []
    while True:
        page = rt.image_queries.page(query, statuses=statuses)
        seen += [(image.created_at, image.uuid) for image in page.items]
        if page.end is None:
            return seen
        query = replace(query, after=page.end)


def follow(api: Api, response: requests.Response, relation: str) -> requests.Response:
    return api.session.get(urljoin(api.base, response.links[relation]["url"]), timeout=30)


@pytest.fixture
def marker(rt: Runtime) -> Iterator[str]:
    """Return a word that only the filenames of this test's images contain. They are deleted afterwards."""
    name = f"m{uuid4().hex}"
    yield name
    gone = True
    while gone:
        with rt.database.transaction() as tx:
            gone = bool(tx.rows(EMPTY, name=f"{name}%", batch=BATCH))


@pytest.fixture
def collection(rt: Runtime, marker: str) -> UUID:
    uuid = uuid4()
    rt.collections.create(uuid, f"collection {marker}", None)
    return uuid


def find_truth(rt: Runtime, uuid: UUID) -> Counter[str]:
    """Count the rows themselves."""
    with rt.database.transaction() as tx:
        return Counter({row["status"]: row["images"] for row in tx.rows(ACTUAL_COUNTS, uuid=uuid)})


def find_kept(rt: Runtime, uuid: UUID) -> Counter[str]:
    with rt.database.transaction() as tx:
        return Counter({row["status"]: row["images"] for row in tx.rows(KEPT_COUNTS, uuid=uuid)})


@pytest.mark.parametrize("sort", ["asc", "desc"])
@pytest.mark.parametrize("statuses", [(ImageStatus.FAILED,), (ImageStatus.SUCCEEDED, ImageStatus.FAILED), VISIBLE])
def test_all_pages_together_are_the_whole_list_in_order(
    rt: Runtime, marker: str, sort: Literal["asc", "desc"], statuses: tuple[ImageStatus, ...]
) -> None:
    fill(rt, marker, 40)
    seen = []
    for page in count(1):
        found = rt.image_queries.page(PageQuery(page=page, limit=7, sort=sort), statuses=statuses)
        seen += [(image.created_at, image.uuid) for image in found.items]
        if page * 7 >= found.total.items:
            break

    assert len(seen) == found.total.items
    assert seen == sorted(set(seen), reverse=sort == "desc")
    assert follow_cursors(rt, PageQuery(limit=100, sort=sort), statuses) == seen
    assert rt.image_queries.page(PageQuery(page=1_000_000, limit=100), statuses=statuses) == Page([], found.total)


@pytest.mark.parametrize("sort_by", ["created_at", "filename", "status"])
def test_all_pages_of_a_collection_are_its_images_in_order(
    rt: Runtime, marker: str, collection: UUID, sort_by: SortColumn
) -> None:
    fill(rt, marker, 30, collection)
    for search, expected in (("", 30), ("DESCRIBED", 15)):
        seen = []
        for page in range(1, 6):
            query = PageQuery(page=page, limit=7, sort="asc", sort_by=sort_by, search=search)
            shown, found = rt.collections.show(collection, query)
            assert (shown.image_count, found.total) == (30, Total(expected))
            seen += [(getattr(image, sort_by), image.uuid) for image in found.items]
        assert len(seen) == expected
        assert seen == sorted(set(seen))


def test_a_search_with_many_matches_says_so_and_cursors_reach_them_all(rt: Runtime, api: Api, marker: str) -> None:
    fill(rt, marker, 2 * REACH)  # two thirds have succeeded
    succeeded = sum(n % 3 != 0 for n in range(1, 2 * REACH + 1))

    response = api("GET", f"/images?search={marker}&limit=100&include=none")
    assert int(response.headers["X-Total-Count"]) >= MAX_COUNTED
    assert response.headers["X-Total-Count-Relation"] == "gte"
    assert "last" not in response.links, "nobody knows it"

    seen = [image["uuid"] for image in response.json()]
    while "next" in response.links:
        response = follow(api, response, "next")
        seen += [image["uuid"] for image in response.json()]
    assert len(seen) == len(set(seen)) == succeeded
    assert response.headers["X-Total-Count-Relation"] == "gte"


def test_the_pages_of_a_search_have_numbers_up_to_a_limit(rt: Runtime, api: Api, marker: str) -> None:
    fill(rt, marker, 2 * REACH)

    for page, found in ((20, 100), (MAX_NUMBERED // 100 + 1, 0)):
        response = api("GET", f"/images?search={marker}&limit=100&include=none&page={page}")
        assert (response.status_code, len(response.json())) == (200, found)
    assert response.headers["X-Total-Count-Relation"] == "gte"


def test_the_pages_of_a_frequent_text_are_all_its_images_in_order(rt: Runtime, marker: str) -> None:
    fill(rt, marker, 2 * REACH)
    seen = []
    for page in range(1, 2 * REACH // 100 + 1):
        found = rt.image_queries.page(PageQuery(search=marker, page=page, limit=100), statuses=VISIBLE)
        seen += [(image.created_at, image.uuid) for image in found.items]
        assert found.total.items >= len(seen)

    assert len(seen) == 2 * REACH
    assert seen == sorted(set(seen), reverse=True)


@pytest.mark.parametrize("images", [MAX_COUNTED, MAX_COUNTED + 1])
def test_a_search_beyond_the_nearest_rows_is_counted_up_to_a_limit(rt: Runtime, marker: str, images: int) -> None:
    fill(rt, f"{marker} old", images)
    fill(rt, f"{marker} new", REACH)
    with rt.database.transaction() as tx:
        tx.rows(
            "UPDATE images SET created_at = created_at - interval '1 day' WHERE filename LIKE :old",
            old=f"{marker} old%",
        )

    found = rt.image_queries.page(PageQuery(search=f"{marker} old"), statuses=VISIBLE)

    assert len(found.items) == 10
    assert found.total == Total(MAX_COUNTED, is_exact=images == MAX_COUNTED)


def test_the_last_link_of_a_list_points_to_a_page_with_images(api: Api, rt: Runtime, marker: str) -> None:
    fill(rt, marker, 250)

    for query in ("limit=100", "limit=7&status=all", "limit=10&sort=asc&status=failed,succeeded"):
        first = api("GET", f"/images?include=none&{query}")
        last = follow(api, first, "last")
        assert last.status_code == 200
        assert last.json()
        assert "next" not in last.links


def test_a_search_can_use_the_trigram_index(rt: Runtime, marker: str) -> None:
    fill(rt, marker, 6000)
    with rt.database.transaction() as tx:  # so few rows are read one by one, if they may be
        tx.rows("ANALYZE images")
        tx.rows("SELECT gin_clean_pending_list(CAST(:name AS regclass))", name=INDEX)
        tx.rows("SET enable_seqscan = off")
        tx.rows("SET enable_indexscan = off")
        tx.rows("SET enable_indexonlyscan = off")

    def search() -> int:
        assert rt.image_queries.page(PageQuery(search="-5999."), statuses=VISIBLE).total == Total(1)
        with rt.database.transaction() as tx:
            tx.rows("SELECT pg_stat_force_next_flush()")
            return int(
                tx.rows("SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = :name", name=INDEX)[0][
                    "idx_scan"
                ]
            )

    before = search()
    wait_for(search, lambda after: after > before)
    rt.database.disconnect()


@pytest.mark.parametrize("word", ["Holiday", "Отпуск", "休暇旅行"])
def test_a_word_of_any_script_is_in_the_trigram_index(rt: Runtime, word: str) -> None:
    with rt.database.transaction() as tx:
        assert tx.rows("SELECT show_trgm(:word) AS trigrams", word=word)[0]["trigrams"]


def test_a_collections_images_and_count_are_a_consistent_snapshot(rt: Runtime, marker: str, collection: UUID) -> None:
    fill(rt, marker, 20)
    images = [
        image.uuid for image in rt.image_queries.page(PageQuery(limit=100, search=marker), statuses=VISIBLE).items
    ]
    ended = threading.Event()

    def move_all() -> None:
        while not ended.is_set():
            rt.collections.add_images(collection, images)
            rt.collections.remove_images(collection, images)
        rt.database.disconnect()

    with ThreadPoolExecutor(1) as pool:
        mover = pool.submit(move_all)
        try:
            answers = [rt.collections.show(collection, PageQuery(limit=100)) for _ in range(200)]
        finally:
            ended.set()
        mover.result()

    assert {(shown.image_count, len(found.items), found.total.items) for shown, found in answers} <= {
        (0, 0, 0),
        (20, 20, 20),
    }


def test_counts_stay_exact_under_concurrent_changes(rt: Runtime, marker: str, collection: UUID) -> None:
    def change(seed: int) -> None:
        chance = random.Random(seed)
        mine: list[UUID] = []
        for number in range(60):
            uuid = uuid4()
            (rt.images.reserve if number % 5 == 0 else create)(uuid, f"{marker}-{seed}-{number}")
            mine.append(uuid)
            one = chance.choice(mine)
            try:
                if number % 4 == 0:
                    rt.images.delete(one)
                elif number % 3 == 0:
                    rt.collections.add_images(collection, [one])
                elif number % 7 == 0:
                    rt.collections.remove_images(collection, mine)
                else:
                    rt.images.request(one, f"{marker}-named", None, describe=False)
            except NotFound:
                pass
        rt.database.disconnect()

    def create(uuid: UUID, filename: str) -> None:
        rt.images.create(uuid, filename, None, 0)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(change, range(4)))

    assert find_kept(rt, collection) == find_truth(rt, collection)
    wait_for(lambda: (find_kept(rt, ALL), find_truth(rt, ALL)), lambda both: both[0] == both[1])
    with rt.database.transaction() as tx:
        rows = tx.rows("SELECT count(*) AS changes FROM image_counts")[0]["changes"]
    assert rows < 3000, "changes are added up from time to time"
