"""Images in an inbox that no event source listens to."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest
from alembic import command
from botocore.exceptions import ClientError
from postgres_proxy import PostgresProxy
from pydantic import SecretStr
from service import wait_for

from shared_lib.commands.bootstrap import alembic_config
from shared_lib.constraints import DEFAULT_TENANT
from shared_lib.database.sockets import open_for_migrations
from shared_lib.runtime import Runtime
from shared_lib.services.reconciliation import Reconciliation

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@pytest.fixture
def wait_in_inbox(rt: Runtime) -> Callable[..., UUID]:
    """Make a pending image, with an object in the inbox if `data` is given. The test delivers its event itself."""

    def make(data: bytes | None = None) -> UUID:
        uuid = uuid4()
        rt.images.create(uuid, "by-hand.jpg", None, 0)
        if data is not None:
            rt.inbox.put(str(uuid), data, "image/jpeg")
        return uuid

    return make


@pytest.fixture
def outcomes(rt: Runtime) -> Callable[[UUID], list[str | None]]:
    """Return how each attempt at an image ended, oldest first."""

    def read(uuid: UUID) -> list[str | None]:
        with rt.database.transaction() as tx:
            rows = tx.rows("SELECT outcome FROM processing_attempts WHERE image_id = :uuid ORDER BY fence", uuid=uuid)
        return [row["outcome"] for row in rows]

    return read


@pytest.fixture
def expire_lease(rt: Runtime) -> Callable[[UUID], None]:
    """Let an image's lease expire, as a dead worker's does."""

    def age(uuid: UUID) -> None:
        with rt.database.transaction() as tx:
            tx.rows("UPDATE images SET lease_until = now() - interval '1 s' WHERE uuid = :uuid", uuid=uuid)

    return age


@pytest.fixture
def lock_object(rt: Runtime, s3: "S3Client") -> Iterator[Callable[[str], None]]:
    """Put an object into the inbox that the service can neither read nor move, because it has a key of the client's."""
    locked: list[str] = []

    def lock(key: str) -> None:
        try:
            s3.put_object(
                Bucket=rt.inbox.name, Key=key, Body=b"x", SSECustomerKey="k" * 32, SSECustomerAlgorithm="AES256"
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "InvalidRequest":
                raise
            pytest.skip(
                "this store takes objects encrypted with a client's key over HTTPS only: none can be in the way"
            )
        locked.append(key)

    yield lock
    for key in locked:
        s3.delete_object(Bucket=rt.inbox.name, Key=key)


@pytest.fixture
def compare(rt: Runtime) -> Callable[..., dict[str, int]]:
    """Compare the whole gallery with the database, and return the repairs.

    The platform's own ticks continue any comparison that is under way, and may end it before ours looks.
    """

    def run(reconciliation: Reconciliation = rt.reconciliation, after: str = "") -> dict[str, int]:
        def begin() -> dict[str, int]:
            comparison = reconciliation.comparison
            comparison.begin()
            comparison.drift.advance_scan(comparison.gallery.name, after)
            return reconciliation.run()

        return wait_for(begin, lambda repairs: "gallery_compared" in repairs, seconds=100)

    return run


@pytest.fixture(scope="module")
def apart(rt: Runtime, s3: "S3Client", empty_database: str) -> Iterator[Runtime]:
    """Return a runtime with a database and buckets of its own: the platform does not know its images."""
    name = uuid4().hex
    buckets = {"upload_bucket": f"inbox-{name}", "completed_bucket": f"gallery-{name}"}
    for bucket in buckets.values():
        s3.create_bucket(Bucket=bucket)
    database = rt.settings.database.model_copy(update={"url": SecretStr(empty_database)})
    store = rt.settings.store.model_copy(update=buckets)
    settings = rt.settings.model_copy(update={"database": database, "store": store})
    config = alembic_config()
    config.attributes["connect"] = lambda: open_for_migrations(settings.database)
    command.upgrade(config, "head")
    runtime = Runtime(settings)
    runtime.database.default_tenant = DEFAULT_TENANT
    yield runtime
    runtime.sandbox.close()
    runtime.broker.close()
    runtime.database.disconnect()


@pytest.fixture(scope="module")
def proxied(apart: Runtime) -> Iterator[tuple[Runtime, PostgresProxy]]:
    """Return another runtime with the same database and buckets, and the proxy between it and the database."""
    proxy = PostgresProxy(apart.settings.database.url.get_secret_value())
    database = apart.settings.database.model_copy(update={"url": SecretStr(proxy.url)})
    processing = apart.settings.processing.model_copy(update={"pending_grace_seconds": 60})
    runtime = Runtime(apart.settings.model_copy(update={"database": database, "processing": processing}))
    runtime.database.default_tenant = DEFAULT_TENANT
    yield runtime, proxy
    runtime.sandbox.close()
    runtime.broker.close()
    runtime.database.disconnect()
    proxy.close()
