"""Tables only grow between two releases, so either's functions work while the other's do, and after a rollback."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID, uuid4

import pytest
from alembic import command
from pydantic import SecretStr
from releases.catalog import find_narrowed, find_removed, read_facts
from releases.contractions import CONTRACTIONS, HARMLESS, WITHDRAWN, Contraction
from releases.record import read_last

from shared_lib.commands.bootstrap import alembic_config
from shared_lib.constraints import DEFAULT_TENANT
from shared_lib.database.connection import Database, Transaction
from shared_lib.database.migrations import find_newest_revision
from shared_lib.database.sockets import open_for_migrations
from shared_lib.repositories.drift import Drift
from shared_lib.repositories.image_queries import ImageQueries
from shared_lib.repositories.images import Images
from shared_lib.settings import Database as DatabaseSettings
from shared_lib.settings import Processing, Quotas

LAST = read_last()
INSERT_PROCESSING = """
    INSERT INTO images (uuid, filename, status, lease_until) VALUES (:uuid, 'x.jpg', 'processing', now())
"""
# As functions from before the outbox write.
OLD_END = """
    UPDATE images SET status = 'succeeded', completed_at = now(), lease_until = NULL, announced = false
    WHERE uuid = :uuid RETURNING completed_at
"""
OLD_MARK = "UPDATE images SET announced = true WHERE uuid = :uuid AND completed_at = :ended"
OLD_SEARCH = """
    UPDATE images SET retry_at = now() WHERE uuid = ANY(ARRAY(
        SELECT uuid FROM images WHERE deleted_at IS NULL AND status IN ('succeeded', 'failed') AND NOT announced
        ORDER BY retry_at NULLS FIRST LIMIT 100 FOR UPDATE SKIP LOCKED)) RETURNING uuid
"""
OLD_DELETION = "UPDATE images SET deleted_at = now(), retry_at = NULL, lease_until = NULL WHERE uuid = :uuid"
NEW_END = """
    WITH ended AS (
        UPDATE images SET status = 'succeeded', completed_at = now() - interval '2 minutes', lease_until = NULL
        WHERE uuid = :uuid RETURNING uuid, tenant_id, completed_at
    ) INSERT INTO outbox (image_id, tenant_id, ended_at) SELECT * FROM ended
"""


@pytest.fixture
def database(empty_database: str) -> Iterator[Database]:
    opened = Database(DatabaseSettings(url=SecretStr(empty_database)), DEFAULT_TENANT)
    migrate(empty_database, find_newest_revision())
    yield opened
    opened.disconnect()


def migrate(url: str, revision: str) -> None:
    """Bring the tables to a migration, forwards or back."""
    config = alembic_config()
    config.attributes["connect"] = lambda: open_for_migrations(DatabaseSettings(url=SecretStr(url)))
    command.upgrade(config, revision)
    command.downgrade(config, revision)


def read_now(database: Database) -> list[str]:
    with database.transaction() as tx:
        return read_facts(tx)


@contextmanager
def as_before_the_outbox(database: Database) -> Iterator[Transaction]:
    with database.transaction() as tx:
        tx.queue("SELECT set_config('application_name', 'image-processing', true)")
        yield tx


@pytest.fixture
def image(database: Database) -> UUID:
    with database.transaction() as tx:
        tx.rows(INSERT_PROCESSING, uuid=(uuid := uuid4()))
    return uuid


@pytest.fixture
def search(database: Database) -> Callable[[], list[UUID]]:
    """Look twice, as reconciliation of functions from before the outbox does within a minute or two."""

    def look() -> list[UUID]:
        for _ in range(2):
            with as_before_the_outbox(database) as tx:
                found = [row["uuid"] for row in tx.rows(OLD_SEARCH)]
        return found

    return look


def test_nothing_that_the_last_release_uses_is_dropped_renamed_or_narrowed(database: Database) -> None:
    after = read_now(database)
    planned = {fact for each in CONTRACTIONS if each.after <= LAST["revision"] for fact in each.facts}

    removed = [each for each in find_removed(LAST["facts"], after) if each not in planned and each not in WITHDRAWN]
    assert not removed, "the last release uses this: keep it, and plan to drop it in contractions.py"
    narrowed = [each for each in find_narrowed(LAST["facts"], after) if each not in HARMLESS]
    assert not narrowed, "the last release doesn't know this: say in contractions.py why its functions work with it"


@pytest.mark.parametrize("contraction", CONTRACTIONS, ids=lambda each: each.facts[0])
def test_what_only_the_last_release_needs_is_dropped_when_it_is_not_the_last_any_more(
    database: Database, contraction: Contraction
) -> None:
    there = {*read_now(database)} & {*contraction.facts}

    expected = set() if contraction.after <= LAST["revision"] else {*contraction.facts}
    assert there == expected, contraction.reason


def test_a_dropped_column_a_new_constraint_and_a_revoked_right_are_found(database: Database) -> None:
    before = read_now(database)
    with pytest.raises(ZeroDivisionError), database.transaction() as tx:
        tx.rows("ALTER TABLE images RENAME COLUMN description TO caption")
        tx.rows("ALTER TABLE images ADD CHECK (length(filename) < 100), ADD COLUMN mood text NOT NULL")
        tx.rows("ALTER TABLE images ALTER sha256 SET NOT NULL, ALTER attempts TYPE bigint")
        tx.rows("REVOKE DELETE ON images FROM images_worker")
        after = read_facts(tx)
        raise ZeroDivisionError  # and roll it back

    assert find_removed(before, after) == [
        "column images.attempts integer",
        "column images.description text",
        "right images_search SELECT images.description",
        "right images_worker DELETE images",
    ]
    assert find_narrowed(before, after) == [
        "constraint images CHECK ((length(filename) < 100))",
        "not null images.mood",
        "not null images.sha256",
    ]


def test_an_end_that_an_old_function_has_marked_is_in_the_outbox_until_it_was_announced(
    database: Database, image: UUID
) -> None:
    with as_before_the_outbox(database) as tx:
        [ended] = tx.rows(OLD_END, uuid=image)
    assert Drift(database).find_unannounced(0) == [image]

    with as_before_the_outbox(database) as tx:
        tx.rows(OLD_MARK, uuid=image, ended=ended["completed_at"])
    assert ImageQueries(database).get_states([image])[image].announced


def test_an_end_in_the_outbox_is_announced_once_by_old_functions_after_a_rollback(
    database: Database, image: UUID, search: Callable[[], list[UUID]]
) -> None:
    with database.transaction() as tx:
        tx.rows(NEW_END, uuid=image)
    assert search() == [image]

    with as_before_the_outbox(database) as tx:
        [row] = tx.rows("SELECT completed_at FROM images WHERE uuid = :uuid", uuid=image)
        tx.rows(OLD_MARK, uuid=image, ended=row["completed_at"])
    assert search() == []
    assert ImageQueries(database).get_states([image])[image].announced


def test_an_end_that_was_announced_is_not_announced_again_after_a_rollback(
    database: Database, image: UUID, search: Callable[[], list[UUID]]
) -> None:
    with database.transaction() as tx:
        tx.rows(NEW_END, uuid=image)
    end = ImageQueries(database).get_end(image)
    assert end
    Images(database, Processing(), Quotas()).mark_announced(end)

    assert search() == []


def test_an_image_that_an_old_function_deletes_leaves_nothing_in_the_outbox(
    database: Database, image: UUID, search: Callable[[], list[UUID]]
) -> None:
    with database.transaction() as tx:
        tx.rows(NEW_END, uuid=image)
    with as_before_the_outbox(database) as tx:
        tx.rows(OLD_DELETION, uuid=image)

    assert search() == []
    with database.transaction() as tx:
        assert tx.rows("SELECT image_id FROM outbox WHERE image_id = :uuid", uuid=image) == []
