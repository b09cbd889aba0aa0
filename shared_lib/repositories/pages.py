"""One page of a list and how many there are in all, cheap however many rows there are and however deep the page.

A page's uuids come from an index alone, and only they are joined to what is shown. Totals are kept by triggers, see
`image_counts`. A search is counted, and can be paged through, as far as MAX_FOUND.
"""

from collections.abc import Collection, Iterable
from typing import Any
from uuid import UUID

from shared_lib.database.connection import Transaction
from shared_lib.domain.images import VISIBLE, PageQuery, Status
from shared_lib.repositories.rows import IMAGE_COLUMNS, PREVIEW_COLUMNS

MAX_FOUND = 10_000
"""Matches of a search that can be paged through. To count more of them would mean to read a large part of the table for
each page: a second and more with a million images."""

ALL = UUID(int=0)
"""What stands for all images in `image_counts`."""

_TOTAL = """
    SELECT CAST(coalesce(sum(change), 0) AS bigint) AS total FROM image_counts
    WHERE collection_id = :collection AND status = ANY(CAST(:statuses AS text[]))
"""
_OF_STATUS = """SELECT uuid, created_at FROM images
    WHERE deleted_at IS NULL AND status <> 'awaiting_upload' AND status IN ({statuses})"""
# What awaits its upload, or was deleted, is in no collection.
_OF_COLLECTION = "SELECT uuid, created_at, filename, status FROM images WHERE collection_id = :collection"
# One status at a time: the index of the texts has only those of images that have ended.
_MATCHING = """SELECT uuid, created_at, filename, status FROM images
    WHERE deleted_at IS NULL AND status = '{status}' AND (filename ILIKE :search OR description ILIKE :search)"""
_IN_COLLECTION = " AND collection_id = :collection"


def begin_snapshot(tx: Transaction) -> None:
    """Have all that the transaction reads from now on be of one moment. Must be its first statement."""
    tx.rows("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


def read_page(
    tx: Transaction,
    query: PageQuery,
    within: Collection[Status] | UUID,
    *,
    previews: bool = True,
) -> tuple[list[dict[str, Any]], int]:
    """
    A page of the images that have these statuses, or are in this collection, as rows; and how many match in all.

    The transaction must be a snapshot.
    """
    collection, statuses = (within, VISIBLE) if isinstance(within, UUID) else (None, within)
    names = [status.value for status in statuses]
    if query.search:
        scope = _IN_COLLECTION if collection else ""
        sources = [_MATCHING.format(status=name) + scope for name in names]
        uuids, total = search(tx, sources, query, collection=collection)
    else:
        source = _OF_COLLECTION if collection else _OF_STATUS.format(statuses=", ".join(f"'{name}'" for name in names))
        total = tx.rows(_TOTAL, collection=collection or ALL, statuses=names)[0]["total"]
        uuids = cut_out(tx, source, query, total, collection=collection)
    columns = IMAGE_COLUMNS + (PREVIEW_COLUMNS if previews else "")
    rows = tx.rows(f"SELECT {columns} FROM images i WHERE i.uuid = ANY(CAST(:uuids AS uuid[]))", uuids=uuids)
    return sorted(rows, key=lambda row: uuids.index(row["uuid"])), total


def cut_out(tx: Transaction, source: str, query: PageQuery, total: int, **parameters: object) -> list[UUID]:
    """The uuids of a page of the source's `total` rows, read from whichever end is nearer."""
    count = min(query.limit, total - query.offset)
    if count <= 0:
        return []
    after = total - query.offset - count
    from_the_end = after < query.offset
    descending = (query.sort == "desc") != from_the_end
    sql = f"SELECT uuid FROM ({source}) listed {_order(query.sort_by, descending=descending)} LIMIT {count} OFFSET "
    uuids = [row["uuid"] for row in tx.rows(sql + str(after if from_the_end else query.offset), **parameters)]
    return uuids[::-1] if from_the_end else uuids


def search(tx: Transaction, sources: Iterable[str], query: PageQuery, **parameters: object) -> tuple[list[UUID], int]:
    """The uuids of a page of what the sources find with `:search`, and how many they find, at most MAX_FOUND.

    A page beyond that is empty, as any page beyond the last is.
    """
    order = _order(query.sort_by, descending=query.sort == "desc")
    branches = " UNION ALL ".join(f"({source} {order} LIMIT {MAX_FOUND})" for source in sources)
    sql = f"""
        WITH found AS (SELECT uuid, {query.sort_by} FROM ({branches}) listed {order} LIMIT {MAX_FOUND}),
             placed AS (SELECT uuid, row_number() OVER ({order}) AS place FROM found)
        SELECT count(*) AS total, array_agg(uuid ORDER BY place) FILTER (WHERE place BETWEEN :first AND :last) AS uuids
        FROM placed
    """
    place = {"first": query.offset + 1, "last": query.offset + query.limit}
    found = tx.rows(sql, search=_pattern(query.search), **place, **parameters)[0]
    return found["uuids"] or [], found["total"]


def _order(column: str, *, descending: bool) -> str:
    """`column` comes from code, never from a caller."""
    way = "DESC" if descending else "ASC"
    return f"ORDER BY {column} {way}, uuid {way}"


def _pattern(text: str) -> str:
    r"""What ILIKE needs to find a text anywhere, its `%` and `_` literal; `\` is what escapes them by default."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"
