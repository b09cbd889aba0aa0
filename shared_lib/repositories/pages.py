"""One page of a list and the total, cheap for any number of rows and any page.

A page's uuids come from an index alone, and only they are joined to the other columns. Totals are kept by triggers (see
`image_counts`). A search is counted, and can be paged through, up to MAX_FOUND matches.

Statuses and columns are literals in the statements, because partial indexes and ORDER BY need them so. They come from
the domain's types, never from a caller.
"""

from collections.abc import Collection, Iterable
from typing import Any
from uuid import UUID

from shared_lib.database.connection import Transaction
from shared_lib.domain.images import VISIBLE, ImageStatus
from shared_lib.domain.pages import PageQuery
from shared_lib.repositories.rows import IMAGE_COLUMNS, THUMBNAIL_COLUMNS

MAX_FOUND = 10_000
"""Matches of a search that can be paged through. Counting more would read a large part of the table for each page: a
second and more with a million images."""

ALL = UUID(int=0)
"""Stands for all images in `image_counts`."""

_BEGIN_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
_SELECT_TOTAL = """
    SELECT CAST(coalesce(sum(change), 0) AS bigint) AS total FROM image_counts
    WHERE collection_id = :collection AND status = ANY(CAST(:statuses AS text[]))
"""
# No hidden or deleted image is in a collection.
_LIST_COLLECTION = "SELECT uuid, created_at, filename, status FROM images WHERE collection_id = :collection"


def _list_by_status(statuses: Iterable[ImageStatus]) -> str:
    names = ", ".join(f"'{status.value}'" for status in statuses)
    return f"""SELECT uuid, created_at FROM images
        WHERE deleted_at IS NULL AND status <> 'awaiting_upload' AND status IN ({names})"""


def _list_matching(status: ImageStatus, *, in_collection: bool) -> str:
    """Return a query for one status: the text index is partial, and has only images that have ended."""
    scope = "AND collection_id = :collection" if in_collection else ""
    return f"""SELECT uuid, created_at, filename, status FROM images
        WHERE deleted_at IS NULL AND status = '{status.value}'
        AND (filename ILIKE :search OR description ILIKE :search) {scope}"""


def begin_snapshot(tx: Transaction) -> None:
    """Make all later statements of the transaction see one moment. Must be its first statement."""
    tx.rows(_BEGIN_SNAPSHOT)


def read_page(
    tx: Transaction, query: PageQuery, within: Collection[ImageStatus] | UUID, *, thumbnails: bool = True
) -> tuple[list[dict[str, Any]], int]:
    """
    Return a page of the images with these statuses, or in this collection, as rows, and how many match in all.

    The transaction must be a snapshot.
    """
    collection, statuses = (within, VISIBLE) if isinstance(within, UUID) else (None, within)
    if query.search:
        sources = [_list_matching(status, in_collection=collection is not None) for status in statuses]
        uuids, total = search(tx, sources, query, collection=collection)
    else:
        source = _list_by_status(statuses) if collection is None else _LIST_COLLECTION
        names = [status.value for status in statuses]
        total = tx.rows(_SELECT_TOTAL, collection=collection or ALL, statuses=names)[0]["total"]
        uuids = slice_page(tx, source, query, total, collection=collection)
    columns = f"{IMAGE_COLUMNS}{THUMBNAIL_COLUMNS if thumbnails else ''}"
    rows = tx.rows(f"SELECT {columns} FROM images i WHERE i.uuid = ANY(CAST(:uuids AS uuid[]))", uuids=uuids)
    return sorted(rows, key=lambda row: uuids.index(row["uuid"])), total


def slice_page(tx: Transaction, source: str, query: PageQuery, total: int, **parameters: object) -> list[UUID]:
    """Return the uuids of a page of the source's `total` rows, read from the nearer end."""
    count = min(query.limit, total - query.offset)
    if count <= 0:
        return []
    after = total - query.offset - count
    from_the_end = after < query.offset
    order = _order_by(query.sort_by, descending=(query.sort == "desc") != from_the_end)
    offset = after if from_the_end else query.offset
    rows = tx.rows(f"SELECT uuid FROM ({source}) listed {order} LIMIT {count} OFFSET {offset}", **parameters)
    uuids = [row["uuid"] for row in rows]
    return uuids[::-1] if from_the_end else uuids


def search(tx: Transaction, sources: Iterable[str], query: PageQuery, **parameters: object) -> tuple[list[UUID], int]:
    """
    Return the uuids of a page of the rows that the sources find with `:search`, and their number up to MAX_FOUND.

    A page beyond that is empty, like any page beyond the last.
    """
    order = _order_by(query.sort_by, descending=query.sort == "desc")
    branches = " UNION ALL ".join(f"({source} {order} LIMIT {MAX_FOUND})" for source in sources)
    sql = f"""
        WITH found AS (SELECT uuid, {query.sort_by} FROM ({branches}) listed {order} LIMIT {MAX_FOUND}),
             placed AS (SELECT uuid, row_number() OVER ({order}) AS place FROM found)
        SELECT count(*) AS total, array_agg(uuid ORDER BY place) FILTER (WHERE place BETWEEN :first AND :last) AS uuids
        FROM placed
    """
    place = {"first": query.offset + 1, "last": query.offset + query.limit}
    found = tx.rows(sql, search=_to_pattern(query.search), **place, **parameters)[0]
    return found["uuids"] or [], found["total"]


def _order_by(column: str, *, descending: bool) -> str:
    direction = "DESC" if descending else "ASC"
    return f"ORDER BY {column} {direction}, uuid {direction}"


def _to_pattern(text: str) -> str:
    r"""Return the ILIKE pattern that finds a text anywhere, with its `%`, `_` and `\` taken literally."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"
