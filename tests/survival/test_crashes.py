"""Cells of the crash matrix (`make chaos`), with fewer uploads, and the audit that judges them."""

import hashlib
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace

import boto3
import pytest
import requests
from chaos.faults import FAULTS
from chaos.matrix import Matrix
from pydantic import SecretStr
from service import WHOLE, Api, make_photo, wait_for

from benchmarks.audit import Answer, Audit, Upload
from shared_lib.constraints import DEFAULT_TENANT
from shared_lib.database.connection import Database
from shared_lib.settings import Database as DatabaseSettings

CELLS = ["consumers/kill", "postgres/kill", "machine/power_loss"]


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Matrix]:
    matrix = Matrix(tmp_path_factory.mktemp("crashes"), uploads=60, rate=20)
    yield matrix
    assert matrix.close() == 0


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", CELLS)
def test_a_crash_under_load_loses_nothing(matrix: Matrix, name: str) -> None:
    cell = matrix.run(next(each for each in FAULTS if each.name == name))

    assert (cell.verdict.faults, cell.failures) == ([], 0)
    assert cell.accepted >= 5  # a start after a power loss takes longer than the load


class World:
    """Two images that a client has uploaded to the matrix's service, and ways to break what the service has."""

    def __init__(self, matrix: Matrix) -> None:
        environ = matrix.platform.environment
        self.store = boto3.client(
            "s3",
            endpoint_url=environ["S3_ENDPOINT_URL"],
            aws_access_key_id=environ["S3_ACCESS_KEY_ID"],
            aws_secret_access_key=environ["S3_SECRET_ACCESS_KEY"],
            region_name="us-east-1",
        )
        self.database = Database(DatabaseSettings(url=SecretStr(environ["DATABASE_URL"])), DEFAULT_TENANT)
        self.data = matrix.platform.data
        self.history = [*matrix.history]
        for number in range(2):
            self._upload(Api(f"{matrix.platform.url}/api/v1", requests.Session()), f"judged-{number}.jpg")
        wait_for(lambda: Audit(self.data).find_unsettled(self.history, at_end=False), lambda found: not found)
        self._audit = Audit(self.data)
        self._audit.accept_lost_log()  # by the cells before

    def judge(self, history: list[Upload] | None = None) -> list[str]:
        """Return the faults. Each time everything is read anew, also what was whole a moment ago."""
        return deepcopy(self._audit).judge(self.history if history is None else history, at_end=False).faults

    def _upload(self, api: Api, filename: str) -> None:
        photo = make_photo()
        sha256 = hashlib.sha256(photo).hexdigest()
        uuid = api.upload(photo, filename, renditions=WHOLE)
        self.history.append(Upload(filename, sha256, Answer.ACCEPTED, uuid, renditions={"thumbnail", "whole"}))

    @property
    def last(self) -> Upload:
        return self.history[-1]

    def change(self, sql: str) -> None:
        with self.database.transaction() as tx:
            tx.rows(sql, uuid=self.last.uuid)

    def find_key(self) -> str:
        listing = self.store.list_objects_v2(Bucket="completed-images", Prefix=f"{self.last.uuid}/")
        return str(listing["Contents"][0]["Key"])

    def put(self, key: str, bucket: str = "completed-images") -> None:
        self.store.put_object(Bucket=bucket, Key=key, Body=b"no image")

    def delete(self, key: str) -> None:
        self.store.delete_object(Bucket="completed-images", Key=key)


@pytest.fixture(scope="module")
def world(matrix: Matrix) -> Iterator[World]:
    world = World(matrix)
    yield world
    world.database.disconnect()


def test_the_audit_finds_nothing_where_nothing_is_wrong(world: World) -> None:
    assert world.judge() == []


# In this order: later ones take away what earlier ones break.
BREAKS: dict[str, tuple[Callable[[World], object], str]] = {
    "a stray object": (lambda world: world.put("stray/0/0.jpg"), "orphans: stray/0/0.jpg"),
    "a rendition with other bytes": (lambda world: world.put(world.find_key()), "is damaged"),
    "a rendition that the store lost": (lambda world: world.delete(world.find_key()), "lost: judged-1.jpg"),
    "a thumbnail with other bytes": (
        lambda world: world.change("UPDATE images SET thumbnail = 'no image' WHERE uuid = :uuid"),
        "'s thumbnail is damaged",
    ),
    "a wrong count": (
        lambda world: world.change(
            "INSERT INTO image_counts (collection_id, status, change) "
            "SELECT '00000000-0000-0000-0000-000000000000', status, 1 FROM images WHERE uuid = :uuid"
        ),
        "counts: ",
    ),
    "an image twice": (
        lambda world: world.change(
            "INSERT INTO images (uuid, filename, status, completed_at) SELECT gen_random_uuid(), filename, "
            "'succeeded', now() FROM images WHERE uuid = :uuid"
        ),
        "is of no upload",
    ),
    "an end that was marked, but not announced": (
        lambda world: world.change(
            "UPDATE images SET status = 'failed', failure_code = 'worker_lost', failure_message = '' WHERE uuid = :uuid"
        ),
        "was not announced as failed",
    ),
    "an image on its way": (
        lambda world: world.change(
            "UPDATE images SET status = 'pending', failure_code = NULL, completed_at = NULL WHERE uuid = :uuid"
        ),
        "is still pending",
    ),
    "an upload without a row": (
        lambda world: world.change("DELETE FROM images WHERE uuid = :uuid"),
        "has no image",
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_the_audit_finds(world: World, name: str) -> None:
    harm, found = BREAKS[name]

    harm(world)

    assert found in "\n".join(world.judge())


def test_the_audit_finds_an_image_of_a_refused_upload(world: World) -> None:
    refused = Upload("judged-0.jpg", "", Answer.REFUSED)

    assert "became an image all the same" in "\n".join(world.judge([refused]))


def test_the_audit_finds_an_image_that_is_there_after_its_deletion(world: World) -> None:
    deleted = replace(world.history[-2], deletion=Answer.ACCEPTED)

    assert "is there after its deletion" in "\n".join(world.judge([deleted]))
