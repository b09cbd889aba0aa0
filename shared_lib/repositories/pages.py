"""One page of a list and the total, cheap for any number of rows and any page.

A page's uuids come from an index alone, and only they are joined to the other columns. A page after a position (keyset
pagination) is read from there on, and a page with a number from the nearer end of the list. Totals are kept by triggers
(see `image_counts`).

A search first reads the REACH rows that come next, and more of them if a later page of a frequent text needs so. If
they have the whole page, it is done, and counts no more than those. Otherwise PostgreSQL chooses between the order's
index and that of trigrams, and counts up to MAX_COUNTED matches. To count all matches of a frequent text would take a
second.

Statuses and columns are literals in the statements, because partial indexes and ORDER BY need them so. They come from
the domain's types, never from a caller.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from shared_lib.database.connection import Transaction
from shared_lib.domain.images import VISIBLE, ImageStatus
from shared_lib.domain.pages import Page, PageQuery, Position, Total
from shared_lib.repositories.rows import IMAGE_COLUMNS, THUMBNAIL_COLUMNS

REACH = 2000
"""Rows that a search reads first: 5 ms."""

MAX_REACH = 20_000
"""Rows that it reads in order at most. PostgreSQL has another plan for later pages, which can take a second."""

MAX_COUNTED = 1000
"""A search with more matches may say "at least"."""

MAX_NUMBERED = 10_000
"""Matches of a search that pages have numbers for. Positions lead further."""

ALL = UUID(int=0)
"""Stands for all images in `image_counts`."""

_SELECT_TOTAL = """
    SELECT CAST(coalesce(sum(change), 0) AS bigint) AS total FROM image_counts
    WHERE tenant_id = :tenant AND collection_id = :collection AND status = ANY(CAST(:statuses AS text[]))
"""
_IMAGE = "SELECT uuid, created_at, status, filename, description FROM images WHERE tenant_id = :tenant"
# A function of the database finds them, because row-level security would keep this role from using the trigrams.
_SEARCH = """
    WITH found AS (
        SELECT uuid, place FROM search_items(:listed, :search, CAST(:statuses AS text[]), :collection, :sort_by,
                                             :descending, :after_value, :after_uuid, :most)
            WITH ORDINALITY AS found (uuid, place))
    SELECT count(*) AS found,
           array_agg(uuid ORDER BY place) FILTER (WHERE place BETWEEN :first AND :last) AS uuids FROM found
"""
_HAS_TEXT = "(filename ILIKE :search OR description ILIKE :search)"


@dataclass(frozen=True)
class Listed:
    """The rows of a list as SQL, and how many there are."""

    table: str
    """As the function `search_items` of the database knows it."""
    rows: str
    """A SELECT of uuids, the columns to sort by, and those that `has_text` tests."""
    size: int
    has_text: str
    collection: UUID | None = None
    statuses: tuple[ImageStatus, ...] = ()

    @property
    def parameters(self) -> dict[str, object]:
        return {"collection": self.collection}


@dataclass(frozen=True)
class Slice:
    """The uuids of a page, and whether others follow. A search also has its total."""

    uuids: list[UUID]
    has_more: bool
    total: Total


def read_page(
    tx: Transaction, query: PageQuery, within: Collection[ImageStatus] | UUID, *, thumbnails: bool = True
) -> Page[dict[str, Any]]:
    """Return a page of the images with these statuses, or in this collection, as rows.

    The transaction must be a snapshot.
    """
    found = slice_page(tx, query, _list_images(tx, within))
    columns = f"{IMAGE_COLUMNS}{THUMBNAIL_COLUMNS if thumbnails else ''}"
    rows = tx.rows(
        f"SELECT {columns} FROM images i WHERE i.tenant_id = :tenant AND i.uuid = ANY(CAST(:uuids AS uuid[]))",
        uuids=found.uuids,
    )
    return make_page(found, query, rows)


def make_page(found: Slice, query: PageQuery, rows: list[dict[str, Any]]) -> Page[dict[str, Any]]:
    """Return the page that has these rows, in its order."""
    places = {uuid: place for place, uuid in enumerate(found.uuids)}
    rows = sorted(rows, key=lambda row: places[row["uuid"]])
    end = Position(rows[-1][query.sort_by], rows[-1]["uuid"]) if rows and found.has_more else None
    return Page(rows, found.total, end)


def slice_page(tx: Transaction, query: PageQuery, listed: Listed) -> Slice:
    if query.search:
        return _search(tx, query, listed)
    return _continue(tx, query, listed) if query.after else _number(tx, query, listed)


def _list_images(tx: Transaction, within: Collection[ImageStatus] | UUID) -> Listed:
    # No hidden or deleted image is in a collection.
    collection, statuses = (within, VISIBLE) if isinstance(within, UUID) else (None, tuple(within))
    by_status = f"{_IMAGE} AND deleted_at IS NULL AND status <> 'awaiting_upload' AND {_have(statuses)}"
    counted = tx.rows(_SELECT_TOTAL, collection=collection or ALL, statuses=[each.value for each in statuses])
    return Listed(
        table="images",
        rows=f"{_IMAGE} AND collection_id = :collection" if collection else by_status,
        size=counted[0]["total"],
        has_text=_HAS_TEXT,
        collection=collection,
        statuses=statuses,
    )


def _have(statuses: Iterable[ImageStatus]) -> str:
    names = ", ".join(f"'{status.value}'" for status in statuses)
    return f"status IN ({names})"


def _number(tx: Transaction, query: PageQuery, listed: Listed) -> Slice:
    """Return the page with a number, read from the nearer end."""
    total = Total(listed.size)
    count = min(query.limit, listed.size - query.offset)
    if count <= 0:
        return Slice([], has_more=False, total=total)
    following = listed.size - query.offset - count
    from_the_end = following < query.offset
    order = _order_by(query, backwards=from_the_end)
    offset = following if from_the_end else query.offset
    rows = tx.rows(
        f"SELECT uuid FROM ({listed.rows}) listed {order} LIMIT {count} OFFSET {offset}", **listed.parameters
    )
    uuids = [row["uuid"] for row in rows]
    return Slice(uuids[::-1] if from_the_end else uuids, following > 0, total)


def _continue(tx: Transaction, query: PageQuery, listed: Listed) -> Slice:
    """Return the page after a position."""
    following, position = _follow(query)
    sql = f"SELECT uuid FROM ({listed.rows}) listed WHERE {following} {_order_by(query)} LIMIT {query.limit + 1}"
    uuids = [row["uuid"] for row in tx.rows(sql, **position, **listed.parameters)]
    return Slice(uuids[: query.limit], len(uuids) > query.limit, Total(listed.size))


def _search(tx: Transaction, query: PageQuery, listed: Listed) -> Slice:
    """Return the page of a search. The total is counted from the start of the list."""
    start = replace(query, after=None, page=1)
    if query.offset >= MAX_NUMBERED:
        return replace(_find(tx, start, listed), uuids=[], has_more=False)
    found = _find(tx, query, listed)
    return replace(found, total=_find(tx, start, listed).total) if query.after else found


def _find(tx: Transaction, query: PageQuery, listed: Listed) -> Slice:
    first = query.offset + 1
    last = query.offset + query.limit
    following, position = _follow(query)
    order = _order_by(query)
    place = {"search": _to_pattern(query.search), "first": first, "last": last, **position, **listed.parameters}
    reach = REACH
    while reach <= MAX_REACH:
        nearest = f"""
            WITH nearest AS (SELECT uuid, {query.sort_by}, {listed.has_text} AS matches FROM ({listed.rows}) listed
                             WHERE {following} {order} LIMIT {reach}),
                 found AS (SELECT uuid, row_number() OVER ({order}) AS place FROM nearest WHERE matches)
            SELECT count(*) AS found, (SELECT count(*) FROM nearest) AS read,
                   array_agg(uuid ORDER BY place) FILTER (WHERE place BETWEEN :first AND :last) AS uuids FROM found
        """
        row = tx.rows(nearest, **place)[0]
        is_all = row["read"] < reach
        seems_frequent = row["found"] * listed.size > MAX_COUNTED * reach
        if is_all or (row["found"] > last and (seems_frequent or query.after)):
            return Slice(row["uuids"] or [], row["found"] > last, Total(row["found"], is_all))
        if not seems_frequent:
            break
        reach = 2 * reach * last // row["found"]
    most = max(MAX_COUNTED, last) + 1
    row = tx.rows(_SEARCH, **place, **_describe(query, listed), most=most)[0]
    is_all = row["found"] < most
    return Slice(row["uuids"] or [], row["found"] > last, Total(row["found"] - (not is_all), is_all))


def _describe(query: PageQuery, listed: Listed) -> dict[str, object]:
    """Return the arguments of `search_items` that say which rows, and in which order."""
    after = query.after
    return {
        "listed": listed.table,
        "statuses": [each.value for each in listed.statuses],
        "sort_by": query.sort_by,
        "descending": query.sort == "desc",
        "after_value": after and f"{after.value}",
        "after_uuid": after and after.uuid,
    }


def _follow(query: PageQuery) -> tuple[str, dict[str, datetime | str | UUID]]:
    """Return the condition for rows after the query's position, and the position as parameters."""
    if query.after is None:
        return "true", {}
    comparison = "<" if query.sort == "desc" else ">"
    position = {"value": query.after.value, "uuid": query.after.uuid}
    return f"({query.sort_by}, uuid) {comparison} (:value, :uuid)", position


def _order_by(query: PageQuery, *, backwards: bool = False) -> str:
    direction = "DESC" if (query.sort == "desc") != backwards else "ASC"
    return f"ORDER BY {query.sort_by} {direction}, uuid {direction}"


def _to_pattern(text: str) -> str:
    r"""Return the ILIKE pattern that finds a text anywhere, with its `%`, `_` and `\` taken literally."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"
