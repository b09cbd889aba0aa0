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

_NO_PURGE = (
    "policy audit_events no_purge RESTRICTIVE INSERT to images_app,images_delivery "
    "check (action <> 'audit_purged'::text)"
)
HARMLESS: dict[str, str] = {
    "trigger images images_marked": "It fires only for statements that name images.announced. 0b65cf9 has none.",
    "trigger images images_adopted": "It refuses only to make an image of one tenant of another tenant's upload. The "
    "object stays, and this release takes it for what it is.",
    "trigger images images_put_off": "It changes only images.announced, and the outbox of deleted images.",
    "trigger audit_events set_time": "The last release leaves the time to its default, which is the same.",
    "trigger audit_events await_link": "It writes only audit_unlinked.",
    "trigger audit_chain end_wait": "It writes only audit_unlinked, also when the last release links a record.",
    _NO_PURGE: "Only reconciliation records that, with another role.",
}
"""Constraints, triggers and the like that are new on the last release's tables → why its functions work with them."""

WITHDRAWN: dict[str, str] = {
    **{
        f"right {role} INSERT audit_events": "The last release inserts only the columns that it still may. What it may "
        "not any more, the ID and the time, could stop the chain."
        for role in ("images_app", "images_worker")
    },
    **{
        f"right {role} {right} issuer_keys": "Who stores these keys can be anybody. To ask for fresh ones, the last "
        "release writes two columns that it still may. Its reconcile-images can't store keys, and logs that. Those "
        "that are there count for 48 hours (docs/deploy.md)."
        for role in ("images_app", "images_worker")
        for right in ("INSERT", "UPDATE")
    },
}
"""What the last release had, and security forbids at once → what its functions do without it."""
