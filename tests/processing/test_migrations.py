"""A database of an earlier release is migrated, and its images are read as before."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pytest
from alembic import command
from alembic.config import Config
from pydantic import SecretStr

from shared_lib.commands.bootstrap import alembic_config
from shared_lib.constraints import DEFAULT_TENANT
from shared_lib.database.connection import Database
from shared_lib.database.sockets import open_for_migrations
from shared_lib.domain.images import Failure, Image, ImageStatus
from shared_lib.errors import Conflict, FailureCode
from shared_lib.pipeline.recipe import THUMBNAIL
from shared_lib.pipeline.recipe_schema import read_recipe
from shared_lib.repositories.claims import Claims
from shared_lib.repositories.drift import Drift
from shared_lib.repositories.image_queries import ImageQueries
from shared_lib.settings import Database as DatabaseSettings
from shared_lib.settings import Processing

Move = Callable[[str], None]

# As release 0006 wrote it: the thumbnail, British spelling, hyphens and snake_case kinds.
INSERT = """
    INSERT INTO images (uuid, filename, status, completed_at, content_type, size_bytes, width, height, original_key,
                        sha256, attempts, announced, preview, preview_type, perceptual_hash, knowledge)
    VALUES (:uuid, 'old.jpg', 'succeeded', now(), 'image/jpeg', 9, 4, 3, 'originals/x.jpg', 'x', 1, true,
            'bytes', 'image/webp', x'c3d4e1b0a5f69278', '{
        "frames": 1, "hasAlpha": false, "colourSpace": "srgb", "profile": null, "bitDepth": 8,
        "capturedAt": "2026-03-08T19:02:11", "cameraMake": "Canon", "cameraModel": null, "lensModel": null,
        "location": null, "palette": [{"colour": "#b5651d", "share": 0.42}],
        "thumbHash": "1QcSHQRnh493V4dIh4eXh1h4kJUI", "blurHash": "LEHV6nWB2yk8pyo0adR*.7kCMdnj",
        "perceptualHash": "c3d4e1b0a5f69278"}')
"""
INSERT_RENDITION = """
    INSERT INTO renditions (image_id, name, recipe_hash, key, content_type, width, height, size_bytes)
    VALUES (:uuid, 'thumbnail', 'h', 'k', 'image/webp', 4, 3, 5)
"""
INSERT_ORDERS = """
    INSERT INTO rendition_orders (image_id, name, recipe_hash, recipe, failure_code, failure_message, refused_at,
                                  refusals)
    VALUES (:uuid, 'hero', 'h', '{"name": "hero", "operations": [
                {"kind": "crop_to_ratio", "width": 1, "height": 1, "gravity": "north-west"}],
                "output": {"format": "jpeg"}}', NULL, NULL, NULL, 0),
           (:uuid, 'slow', 'h', '{"name": "slow", "operations": [{"kind": "grayscale"}]}',
            'decoder_timeout', 'It took too long.', now(), 2)
"""
# As this release writes them.
INSERT_SUCCEEDED = """
    INSERT INTO images (uuid, filename, status, completed_at, thumbnail, thumbnail_type)
    VALUES (:uuid, 'new.jpg', 'succeeded', now(), 'bytes', 'image/jpeg')
"""
INSERT_THUMBNAIL = """
    INSERT INTO renditions (image_id, name, recipe_hash, content_type, width, height, size_bytes)
    VALUES (:uuid, :name, :hash, 'image/jpeg', 100, 100, 5)
"""
INSERT_TOMBSTONE = """
    INSERT INTO images (uuid, filename, status, deleted_at, swept_at) VALUES (:uuid, '', 'pending', now(), now())
"""


@pytest.fixture
def database(empty_database: str) -> Iterator[Database]:
    opened = Database(DatabaseSettings(url=SecretStr(empty_database)), DEFAULT_TENANT)
    yield opened
    opened.disconnect()


@pytest.fixture
def upgrade(empty_database: str) -> Move:
    return lambda revision: command.upgrade(connect(empty_database), revision)


@pytest.fixture
def downgrade(empty_database: str) -> Move:
    return lambda revision: command.downgrade(connect(empty_database), revision)


def connect(url: str) -> Config:
    config = alembic_config()
    config.attributes["connect"] = lambda: open_for_migrations(DatabaseSettings(url=SecretStr(url)))
    return config


def test_an_image_of_an_earlier_release_survives_its_migrations(
    database: Database, upgrade: Move, downgrade: Move
) -> None:
    uuid, deleted = uuid4(), uuid4()
    upgrade("0006")
    with database.transaction() as tx:
        tx.rows(INSERT, uuid=uuid)
        tx.rows(INSERT_RENDITION, uuid=uuid)
        tx.rows(INSERT_ORDERS, uuid=uuid)
        tx.rows(INSERT_TOMBSTONE, uuid=deleted)

    upgrade("head")
    check(database, uuid, deleted)

    downgrade("0006")
    upgrade("head")
    check(database, uuid, deleted)
    assert_requested_again(database, uuid)
    downgrade("base")


def test_a_release_that_serves_thumbnails_from_objects_makes_them_again(
    database: Database, upgrade: Move, downgrade: Move
) -> None:
    upgrade("head")
    with database.transaction() as tx:
        tx.rows(INSERT_SUCCEEDED, uuid=(uuid := uuid4()))
        for name in ("thumbnail", "alias"):
            tx.rows(INSERT_THUMBNAIL, uuid=uuid, name=name, hash=THUMBNAIL.hash)

    downgrade("0027")

    with database.transaction() as tx:
        requested = tx.rows("SELECT name, recipe_hash, recipe FROM rendition_requests ORDER BY name")
        assert tx.rows("SELECT due_at <= now() AS due FROM images") == [{"due": True}]
        assert tx.rows("SELECT key FROM renditions") == []
    assert [each["name"] for each in requested] == ["alias", "thumbnail"]
    assert [each["recipe_hash"] for each in requested] == [THUMBNAIL.hash] * 2
    assert [read_recipe(each["recipe"]) for each in requested] == [replace(THUMBNAIL, name="alias"), THUMBNAIL]


def test_ends_are_still_to_be_announced_after_an_upgrade_and_after_a_downgrade(
    database: Database, upgrade: Move, downgrade: Move
) -> None:
    waiting, announced = uuid4(), uuid4()
    upgrade("0029")
    with database.transaction() as tx:
        for uuid in (waiting, announced):
            tx.rows(INSERT_SUCCEEDED, uuid=uuid)
        tx.rows("UPDATE images SET announced = true WHERE uuid = :uuid", uuid=announced)

    upgrade("head")
    states = ImageQueries(database).get_states([waiting, announced])
    assert (states[waiting].announced, states[announced].announced) == (False, True)
    assert Drift(database).find_unannounced(0) == [waiting]

    downgrade("0029")
    with database.transaction() as tx:
        assert tx.rows("SELECT uuid FROM images WHERE NOT announced") == [{"uuid": waiting}]


def test_a_database_without_its_roles_is_left_alone(administrator_url: str) -> None:
    """Its administrator's database: nobody has run roles.sql there, and the role exists in the whole cluster."""
    with pytest.raises(Conflict, match=r"have its administrator run .*roles\.sql"):
        command.upgrade(connect(urlsplit(administrator_url)._replace(path="/template1").geturl()), "head")


def check(database: Database, uuid: UUID, deleted: UUID) -> None:
    queries = ImageQueries(database)
    image = queries.get(uuid)
    check_metadata(image)
    assert (image.filename, image.status) == ("old.jpg", ImageStatus.SUCCEEDED)
    assert image.thumbnail
    assert (image.thumbnail.content_type, image.thumbnail.data) == ("image/webp", b"bytes")
    assert [each.name for each in image.renditions] == ["thumbnail"]
    assert image.pending_renditions == ("hero",)
    [failed] = image.failed_renditions
    assert failed.failure == Failure(FailureCode.DECODER_TIMEOUT, "It took too long.")
    state = queries.get_state(deleted)
    assert state
    assert state.deleted


def check_metadata(image: Image) -> None:
    assert image.metadata
    assert (image.metadata.color_space, image.metadata.camera_make) == ("srgb", "Canon")
    assert image.metadata.palette[0].color == "#b5651d"


def assert_requested_again(database: Database, uuid: UUID) -> None:
    claims = Claims(database, Processing())
    with claims.hold(uuid) as claim:
        assert claim
        assert [recipe.name for recipe in claim.requested] == ["hero"]
        claims.withdraw(claim)
