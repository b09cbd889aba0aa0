"""An image's row changes exactly as the table of transitions says."""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest
from alembic import command
from pydantic import SecretStr
from service import ROOT

from shared_lib.commands.bootstrap import alembic_config
from shared_lib.constraints import DEFAULT_TENANT
from shared_lib.database.connection import Database
from shared_lib.database.sockets import open_for_migrations
from shared_lib.domain.images import TRANSITIONS, Change, Guard, Hidden, ImageStatus, State, Transition
from shared_lib.errors import Conflict, FailureCode, NotFound, Rejected
from shared_lib.pipeline.formats import Format
from shared_lib.pipeline.recipe import PRESETS
from shared_lib.pipeline.recipe_schema import write_recipe
from shared_lib.pipeline.rendition import Rendered
from shared_lib.repositories.claims import Claim, Claims
from shared_lib.repositories.drift import Drift
from shared_lib.repositories.images import Images
from shared_lib.repositories.leases import Lease
from shared_lib.repositories.retries import Retries
from shared_lib.settings import Database as DatabaseSettings
from shared_lib.settings import Processing

STATES: tuple[State, ...] = (*ImageStatus, *Hidden)
FENCE = 7
ROWS: dict[State, dict[str, str]] = {
    ImageStatus.AWAITING_UPLOAD: {"due_at": "now() + interval '1 hour'"},
    ImageStatus.PENDING: {},
    ImageStatus.PROCESSING: {"lease_until": "now() + interval '1 hour'", "attempts": "1"},
    ImageStatus.SUCCEEDED: {"completed_at": "now()", "original_key": "'originals/x.jpg'", "attempts": "1"},
    ImageStatus.FAILED: {"completed_at": "now()", "failure_code": "'corrupt_image'", "failure_message": "''"},
    Hidden.DELETED: {"status": "'pending'", "deleted_at": "now()", "fence": f"{FENCE + 1}"},
}
"""State → columns as SQL, besides the status."""

RUNNING = {"lease_until": "now() + interval '1 hour'"}
GUARDS: dict[Guard, tuple[dict[str, str], dict[str, str]]] = {
    Guard.HELD: (RUNNING, RUNNING | {"fence": f"{FENCE + 1}"}),
    Guard.LEASE_EXPIRED: ({"lease_until": "now() - interval '1 second'"}, RUNNING),
    Guard.NO_LEASE: ({}, RUNNING),
    Guard.RENDITIONS_PENDING: ({}, {}),
    Guard.NO_ATTEMPT: ({"attempts": "0"}, {"attempts": "1"}),
    Guard.RETRYABLE: ({"failure_code": "'worker_lost'"}, {"failure_code": "'corrupt_image'"}),
    Guard.URL_EXPIRED: ({"due_at": "now() - interval '1 hour'"}, {"due_at": "now() + interval '1 hour'"}),
    Guard.CLEANED_UP: ({"cleaned_up_at": "now() - interval '9 days'"}, {"cleaned_up_at": "NULL"}),
}
"""Guard → columns that meet it, and columns that do not."""


@dataclass
class World:
    database: Database
    images: Images
    claims: Claims
    drift: Drift
    retries: Retries

    def insert(self, state: State, columns: dict[str, str]) -> UUID:
        uuid = uuid4()
        values = {"status": f"'{state}'", "fence": f"{FENCE}"} | ROWS.get(state, {}) | columns
        if state is not Hidden.ABSENT:
            with self.database.transaction() as tx:
                tx.rows(
                    f"""INSERT INTO images (uuid, filename, {", ".join(values)})
                        VALUES (:uuid, 'old.jpg', {", ".join(values.values())})""",  # noqa: S608  of this test
                    uuid=uuid,
                )
        return uuid

    def request_rendition(self, uuid: UUID) -> None:
        with self.database.transaction() as tx:
            tx.rows(
                """INSERT INTO rendition_requests (image_id, name, recipe_hash, recipe)
                   VALUES (:uuid, 'small', 'any', CAST(:recipe AS jsonb))""",
                uuid=uuid,
                recipe=write_recipe(PRESETS["small"]),
            )

    def read(self, uuid: UUID) -> dict[str, Any] | None:
        with self.database.transaction() as tx:
            return tx.row("SELECT * FROM images WHERE uuid = :uuid", uuid=uuid)

    def apply(self, change: Change, uuid: UUID, state: State) -> None:
        """Do what the service does when this happens. Expected errors are ignored: the row shows the result."""
        claim = Claim(
            lease=Lease(uuid, FENCE),
            tenant=DEFAULT_TENANT,
            attempt=1,
            is_last=False,
            requested=(),
            has_succeeded=state is ImageStatus.SUCCEEDED,
            original_key=None,
            traceparent=None,
            requested_by=None,
            waited=0,
        )
        rejected = Rejected(FailureCode.CORRUPT_IMAGE, "for the test")
        rendered = Rendered(Format.JPEG, 4, 3, ())
        actions: dict[Change, Callable[[], object]] = {
            Change.CREATE: lambda: self.images.create(uuid, "new.jpg", None, 1),
            Change.RESERVE: lambda: self.images.reserve(uuid, "new.jpg"),
            Change.ARRIVE: lambda: self.images.mark_arrived([uuid]),
            Change.REQUEST: lambda: self.images.request(uuid, "new.jpg", None, describe=False),
            Change.CLAIM: lambda: self._claim(uuid),
            Change.RELEASE: lambda: self.claims.release(claim, ValueError("for the test")),
            Change.SUCCEED: lambda: self.claims.succeed(claim, rendered, {}),
            Change.FAIL: lambda: self.claims.fail(claim, rejected),
            Change.GIVE_UP: lambda: self.images.give_up(uuid, rejected.failure, rejected.public),
            Change.RETRY: lambda: self.retries.retry([FailureCode.WORKER_LOST], days=7),
            Change.DELETE: lambda: self.images.delete(uuid),
            Change.FORGET: lambda: self.images.forget(uuid),
            Change.EXPIRE: lambda: self.drift.expire_reservations(0),
            Change.CLEAN_UP: lambda: self.images.mark_cleaned_up(uuid),
            Change.PURGE: lambda: self.drift.purge(7, 0),
        }
        with suppress(Conflict, NotFound):
            actions[change]()

    def _claim(self, uuid: UUID) -> None:
        with self.claims.hold(uuid, arrived=True):
            pass


@pytest.fixture(scope="module")
def world(empty_database: str) -> Iterator[World]:
    settings = DatabaseSettings(url=SecretStr(empty_database))
    config = alembic_config()
    config.attributes["connect"] = lambda: open_for_migrations(settings)
    command.upgrade(config, "head")
    database, processing = Database(settings, DEFAULT_TENANT), Processing()
    yield World(
        database,
        Images(database, processing),
        Claims(database, processing),
        Drift(database),
        Retries(database),
    )
    database.disconnect()


def find_state(row: dict[str, Any] | None) -> State:
    if row is None:
        return Hidden.ABSENT
    return Hidden.DELETED if row["deleted_at"] else ImageStatus(row["status"])


def find_transition(change: Change, state: State) -> Transition | None:
    found = [each for each in TRANSITIONS if each.change is change and state in each.sources]
    assert len(found) <= 1, "a state has one transition for each change"
    return found[0] if found else None


MOVES = [(each.change, state, each) for each in TRANSITIONS for state in each.sources]
GUARDED = [each for each in MOVES if each[2].guard is not Guard.NONE]
OTHERS = [(change, state) for change in Change for state in STATES if find_transition(change, state) is None]


@pytest.mark.parametrize(("change", "state", "transition"), MOVES)
def test_a_change_moves_an_image_as_the_table_says(
    world: World, change: Change, state: State, transition: Transition
) -> None:
    uuid = world.insert(state, GUARDS[transition.guard][0] if transition.guard else {})
    if transition.guard is Guard.RENDITIONS_PENDING:
        world.request_rendition(uuid)
    before = world.read(uuid)

    world.apply(change, uuid, state)

    after = world.read(uuid)
    assert find_state(after) == (transition.target or state)
    assert after != before


@pytest.mark.parametrize(("change", "state", "transition"), GUARDED)
def test_a_change_whose_guard_is_not_met_changes_nothing(
    world: World, change: Change, state: State, transition: Transition
) -> None:
    uuid = world.insert(state, GUARDS[transition.guard][1])
    before = world.read(uuid)

    world.apply(change, uuid, state)

    assert world.read(uuid) == before


def test_a_succeeded_image_that_is_held_is_not_claimed_again(world: World) -> None:
    uuid = world.insert(ImageStatus.SUCCEEDED, RUNNING)
    world.request_rendition(uuid)
    before = world.read(uuid)

    world.apply(Change.CLAIM, uuid, ImageStatus.SUCCEEDED)

    assert world.read(uuid) == before


@pytest.mark.parametrize(("change", "state"), OTHERS)
def test_a_change_from_any_other_state_changes_nothing(world: World, change: Change, state: State) -> None:
    uuid = world.insert(state, {})
    before = world.read(uuid)

    world.apply(change, uuid, state)

    assert world.read(uuid) == before


def test_only_lifecycle_writes_to_the_rows_of_images() -> None:
    writes = re.compile(r"(INSERT INTO|UPDATE|DELETE FROM) images\b(?! SET collection_id)")

    modules = {path for path in (ROOT / "shared_lib").rglob("*.py") if writes.search(path.read_text())}

    lifecycle = ROOT / "shared_lib" / "repositories" / "lifecycle.py"
    assert {path for path in modules if "versions" not in path.parts} == {lifecycle}
