"""The way from one release's tables to the next: expand first, contract one release later.

`last_release.json` has the tables of the last release, which `make record-release` writes. A migration may drop, rename
or narrow nothing of them. What only the last release needs is listed here, and dropped one release later: as soon as
another one is recorded as the last, a test fails until a migration does it.
"""

from typing import NamedTuple


class Contraction(NamedTuple):
    facts: tuple[str, ...]
    """What is to be dropped, as `catalog.py` writes it. Rights on a column, and that it is not null, go with it."""
    after: str
    """The migration with which its last use ended. Of the last release it must be this one, or a later one."""
    reason: str


CONTRACTIONS = (
    Contraction(
        facts=(
            "column images.announced boolean",
            "default images.announced true",
            "trigger images images_marked",
            "trigger images images_put_off",
        ),
        after="0031",
        reason="Functions from before the outbox (migration 0030) mark in the image's row that its end was announced. "
        "Drop the column, both triggers, and the functions keep_mark_in_outbox() and mark_outbox().",
    ),
)

HARMLESS: dict[str, str] = {
    "trigger images images_marked": "It fires only for statements that name images.announced. 0b65cf9 has none.",
    "trigger images images_put_off": "It changes only images.announced, and the outbox of deleted images.",
}
"""Constraints, triggers and the like that are new on the last release's tables → why its functions work with them."""
