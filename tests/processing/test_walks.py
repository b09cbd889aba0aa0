"""Whoever follows cursors sees each item that stays exactly once and in order, whatever changes meanwhile."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, get_args
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared_lib.domain.images import VISIBLE, ImageStatus
from shared_lib.domain.pages import Page, PageQuery, Position
from shared_lib.runtime import Runtime

NOON = datetime(2001, 1, 1, 12, tzinfo=UTC)
AFTERNOON = NOON + timedelta(hours=1)
INSERT_IMAGE = """
    INSERT INTO images (uuid, filename, description, status, created_at, completed_at, collection_id,
                        failure_code, failure_message)
    VALUES (:uuid, :filename, :description, :status, :created, now(), CAST(:collection AS uuid),
            CASE :status WHEN 'failed' THEN 'other' END, CASE :status WHEN 'failed' THEN 'for the test' END)
"""
INSERT_COLLECTION = "INSERT INTO collections (uuid, name, created_at) VALUES (:uuid, :name, :created)"
CHANGE_IMAGE = "UPDATE images SET description = 'changed ' || description, attempts = 3 WHERE uuid = :uuid"
CHANGE_COLLECTION = "UPDATE collections SET description = 'changed', updated_at = now() WHERE uuid = :uuid"
Kind = Literal["images", "failed images", "found images", "collection", "collection by filename", "collections"]
Seen = tuple[Any, UUID]
"""An item's sorted value, and its uuid."""
SHARED = ("images", "failed images")
"""Lists that have other tests' items, too. Those are later than AFTERNOON."""


@dataclass(frozen=True)
class Plan:
    """Items to begin with, how to page through them, and what happens before each further page."""

    instants: list[int]
    limit: int
    sort: Literal["asc", "desc"]
    changes: list[list[tuple[str, int, int]]]


instants = st.integers(0, 3)  # few, so that many items are created at the same one
changes = st.lists(st.tuples(st.sampled_from(["insert", "delete", "change"]), st.integers(0, 30), instants), max_size=3)
plans = st.builds(
    Plan,
    instants=st.lists(instants, max_size=14),
    limit=st.integers(1, 5),
    sort=st.sampled_from(["asc", "desc"]),
    changes=st.lists(changes, max_size=8),
)


@dataclass
class World:
    """A list with items of a test, which are known by a word in their names."""

    rt: Runtime
    kind: Kind
    word: str
    collection: UUID | None = None
    present: list[UUID] = field(default_factory=list)

    def insert(self, *instants: int) -> None:
        """Insert items that were created at these times."""
        with self.rt.database.transaction() as tx:
            for instant in instants:
                uuid = uuid4()
                created = NOON + timedelta(seconds=instant)
                if self.kind == "collections":
                    tx.rows(INSERT_COLLECTION, uuid=uuid, name=f"{self.word} {instant}", created=created)
                else:
                    status = "failed" if self.kind == "failed images" or uuid.int % 3 == 0 else "succeeded"
                    columns = {"filename": f"{self.word} {instant} é", "description": self.word, "status": status}
                    tx.rows(INSERT_IMAGE, uuid=uuid, created=created, collection=self.collection, **columns)
                self.present.append(uuid)

    def delete(self, uuid: UUID) -> None:
        (self.rt.collections if self.kind == "collections" else self.rt.images).delete(uuid)
        self.present.remove(uuid)

    def change(self, uuid: UUID) -> None:
        with self.rt.database.transaction() as tx:
            tx.rows(CHANGE_COLLECTION if self.kind == "collections" else CHANGE_IMAGE, uuid=uuid)

    def apply(self, change: str, number: int, instant: int) -> None:
        if change == "insert":
            self.insert(instant)
        elif self.present:
            uuid = self.present[number % len(self.present)]
            (self.delete if change == "delete" else self.change)(uuid)

    def query(self, sort: Literal["asc", "desc"], limit: int) -> PageQuery:
        is_searched = self.kind in ("found images", "collections")
        sort_by: Literal["filename", "created_at"] = "filename" if self.kind.endswith("filename") else "created_at"
        return PageQuery(limit=limit, sort=sort, sort_by=sort_by, search=self.word if is_searched else "")

    def read(self, query: PageQuery) -> Page[Seen]:
        """Return a page of what the items are sorted by, and their uuids."""
        if self.kind == "collections":
            page = self.rt.collections.page(query)
            return page.map(lambda each: (getattr(each, query.sort_by), each.uuid))
        if self.collection:
            shown = self.rt.collections.show(self.collection, query)[1]
        else:
            statuses = (ImageStatus.FAILED,) if self.kind == "failed images" else VISIBLE
            shown = self.rt.image_queries.page(query, statuses=statuses, thumbnails=False)
        return shown.map(lambda image: (getattr(image, query.sort_by), image.uuid))


def walk(world: World, query: PageQuery, between: Callable[[], None]) -> list[Seen]:
    """Follow cursors from the first page to the last. In a shared list, that is from the first to the last own item."""
    is_shared = world.kind in SHARED
    if is_shared and query.sort == "desc":
        query = replace(query, after=Position(AFTERNOON, UUID(int=0)))
    page = world.read(query)
    seen = page.items
    while page.end and not (is_shared and seen[-1][0] > AFTERNOON):
        assert len(page.items) == query.limit
        between()
        page = world.read(replace(query, after=page.end))
        assert not set(page.items) & set(seen), "or a walk might never end"
        seen = seen + page.items
    return [item for item in seen if not (is_shared and item[0] > AFTERNOON)]


@pytest.fixture(scope="module")
def make_world(rt: Runtime) -> Iterator[Callable[[Kind], World]]:
    worlds: list[World] = []

    def make(kind: Kind) -> World:
        worlds.append(World(rt, kind, f"w{uuid4().hex}"))
        if kind.startswith("collection") and kind != "collections":
            worlds[-1].collection = uuid4()
            rt.collections.create(worlds[-1].collection, worlds[-1].word, None)
        return worlds[-1]

    yield make
    with rt.database.transaction() as tx:
        present = [uuid for world in worlds for uuid in world.present]
        tx.rows("DELETE FROM images WHERE uuid = ANY(CAST(:uuids AS uuid[]))", uuids=present)
        tx.rows("DELETE FROM collections WHERE uuid = ANY(CAST(:uuids AS uuid[]))", uuids=present)


@pytest.mark.parametrize("kind", get_args(Kind))
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(plan=plans)
def test_each_item_that_stays_is_seen_once_and_in_order(
    make_world: Callable[[Kind], World], kind: Kind, plan: Plan
) -> None:
    world = make_world(kind)
    world.insert(*plan.instants)
    before, pending = set(world.present), iter(plan.changes)

    def change() -> None:
        for each in next(pending, ()):
            world.apply(*each)

    seen = walk(world, world.query(plan.sort, plan.limit), change)

    assert seen == sorted(seen, reverse=plan.sort == "desc")
    assert len(seen) == len(set(seen))
    assert before & set(world.present) <= {uuid for _, uuid in seen}


@pytest.mark.parametrize("kind", [kind for kind in get_args(Kind) if kind not in SHARED])
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(plan=plans)
def test_cursors_and_page_numbers_lead_to_the_same_items(
    make_world: Callable[[Kind], World], kind: Kind, plan: Plan
) -> None:
    world = make_world(kind)
    world.insert(*plan.instants)
    query = world.query(plan.sort, plan.limit)

    followed = walk(world, query, lambda: None)
    total = world.read(query).total
    pages = [world.read(replace(query, page=page)).items for page in range(1, -(-total.items // query.limit) + 1)]

    assert followed == [item for page in pages for item in page]
    assert len(followed) == total.items
