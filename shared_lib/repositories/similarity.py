"""Find similar images by their perceptual hashes, with an index: multi-index hashing.

Norouzi, Punjani and Fleet, "Fast Search in Hamming Space with Multi-Index Hashing" (CVPR 2012): of two hashes that
differ in at most 4n + 3 bits, at least one of four quarters differs in at most n. So it is enough to look up all values
that close for each quarter. The whole distance is then computed only for the few rows found.
"""

from itertools import combinations
from typing import Any
from uuid import UUID

from shared_lib.database.connection import Transaction
from shared_lib.repositories.rows import IMAGE_COLUMNS, THUMBNAIL_COLUMNS, VISIBLE_IMAGE

_BITS = 16  # of a quarter

_SELECT_HASH = f"SELECT CAST(i.perceptual_hash AS text) AS hash FROM images i WHERE i.uuid = :uuid AND {VISIBLE_IMAGE}"
# A function of the database finds them, because row-level security would keep this role from using the index.
_SELECT_SIMILAR = f"""
    SELECT {IMAGE_COLUMNS}{THUMBNAIL_COLUMNS}, near.distance
    FROM find_similar_images(CAST(:hash AS bit(64)), CAST(:quarters AS integer[]), :distance, :uuid, :limit) near
    JOIN images i ON i.uuid = near.image
    WHERE {VISIBLE_IMAGE} ORDER BY near.distance, i.created_at DESC, i.uuid
"""


def select_similar(tx: Transaction, uuid: UUID, distance: int, limit: int) -> list[dict[str, Any]] | None:
    """Return rows of images with their distance: None if there is no such image, and no rows if it has no hash."""
    row = tx.row(_SELECT_HASH, uuid=uuid)
    if row is None or row["hash"] is None:
        return None if row is None else []
    quarters = _probe(row["hash"], distance)
    return tx.rows(_SELECT_SIMILAR, uuid=uuid, hash=row["hash"], quarters=quarters, distance=distance, limit=limit)


def _probe(perceptual_hash: str, distance: int) -> list[int]:
    """Return all values of `perceptual_quarters` within that distance. The hash is 64 digits, 0 or 1."""
    masks = [
        sum(1 << bit for bit in flipped)
        for count in range(distance // 4 + 1)
        for flipped in combinations(range(_BITS), count)
    ]
    quarters = [int(perceptual_hash[at : at + _BITS], 2) for at in range(0, 4 * _BITS, _BITS)]
    return [(number << _BITS) + (quarter ^ mask) for number, quarter in enumerate(quarters) for mask in masks]
