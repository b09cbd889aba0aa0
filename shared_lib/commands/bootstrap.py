"""Create what must exist before the first function runs: tables, buckets, notifications, topics. Idempotent.

`python -m shared_lib.commands.bootstrap --help` lists its commands.
"""

import argparse
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from ssl import SSLError

from alembic import command
from alembic.config import Config
from pg8000.dbapi import Connection
from pg8000.exceptions import InterfaceError
from sqlalchemy.exc import DBAPIError

from shared_lib import observability, settings
from shared_lib.addresses import read_database_url
from shared_lib.broker.client import Client
from shared_lib.database.connection import Database
from shared_lib.database.failures import translating
from shared_lib.database.indexes import build_indexes
from shared_lib.database.migrations import MIGRATIONS, find_newest_revision
from shared_lib.database.rights import OWNER, compose_revocations
from shared_lib.database.schema import read_revision
from shared_lib.database.sockets import open_for_migrations
from shared_lib.errors import Conflict, ServiceError
from shared_lib.events import TOPICS
from shared_lib.repositories.image_queries import ImageQueries
from shared_lib.settings import InvalidSettings, Settings
from shared_lib.storage.probe import StoreProbe
from shared_lib.storage.setup import StoreSetup

log = observability.get_logger()


def alembic_config(settings: Settings | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    if settings is not None:
        config.attributes["connect"] = lambda: open_for_migrations(settings.database)
    return config


def migrate(settings: Settings) -> None:
    """Migrate the database to this release's version. Raises Unavailable if it cannot be reached.

    After a rollback the database is newer, and stays: this release works with what a newer one has added.
    """
    database = Database(settings.database)
    found = read_revision(database)
    database.disconnect()
    if found > find_newest_revision():
        log.info("database_is_newer", revision=found)
        return
    with translating(), _unwrapping():
        command.upgrade(alembic_config(settings), "head")
    log.info("database_migrated")
    with translating(), closing(open_for_migrations(settings.database)) as connection:
        build_indexes(connection)
    if not found:  # a new database has no functions of the last release
        end_last_release(settings)


def end_last_release(settings: Settings) -> None:
    """Take away the rights that only functions of the last release needed."""
    with translating(), closing(open_for_migrations(settings.database)) as connection:
        revoke_last_release(connection)
    log.info("last_release_ended")


def revoke_last_release(connection: Connection) -> None:
    cursor = connection.cursor()
    cursor.execute(f"SET LOCAL ROLE {OWNER}")
    for statement in compose_revocations():
        cursor.execute(statement)
    connection.commit()


def reset(settings: Settings, *, confirmed: bool, forced: bool) -> None:
    """Undo every migration. Raises Conflict unless that is confirmed and, if there are images, forced."""
    database = Database(settings.database)
    name = read_database_url(settings.database.url.get_secret_value())
    images = ImageQueries(database).count()
    database.disconnect()
    holds = f"{name} holds {images} image{'' if images == 1 else 's'}"
    if not confirmed:
        raise Conflict(f"{holds}. To drop all its tables, say `make reset confirm=yes`")
    if images and not forced:
        raise Conflict(
            f"{holds}. Without their rows, the nightly comparison removes their files too. To lose them, say "
            "`make reset confirm=yes force=yes`"
        )
    with translating(), _unwrapping():
        command.downgrade(alembic_config(settings), "base")
    log.info("database_reset", database=str(name), images=images)


@contextmanager
def _unwrapping() -> Iterator[None]:
    """Unwrap the driver's errors from SQLAlchemy's, which leaves those of the network as they are."""
    try:
        yield
    except DBAPIError as error:
        raise error.orig or error from None
    except (ConnectionError, TimeoutError, SSLError) as error:
        raise InterfaceError("network error") from error


def create_buckets(settings: Settings) -> None:
    """Create both buckets, their CORS rules and, where the store itself notifies, its notification for the inbox.

    Raises UnsafeStore if the store allows what it has to deny.
    """
    setup = StoreSetup(settings.store)
    setup.create_buckets()
    StoreProbe(settings.store).run()
    if settings.store.cors_allow_origins and not setup.allow_origins(settings.store.cors_allow_origins):
        log.warning("bucket_cors_not_offered", origins=settings.store.cors_allow_origins)
    if settings.store.notification_arn:
        setup.notify(settings.store.notification_arn)
    log.info("buckets_ready", notifications=bool(settings.store.notification_arn))


def create_topics(settings: Settings) -> None:
    Client(settings.kafka).create_topics()
    log.info("topics_ready", topics=TOPICS)


def begin_migration(name: str) -> None:
    number = int(find_newest_revision()) + 1
    command.revision(alembic_config(), message=name, rev_id=f"{number:04}")


def main(*words: str) -> int:
    """Run a command and return its exit status. An error is one sentence on standard error."""
    arguments = _parser().parse_args(words)
    if arguments.command == "new":
        begin_migration(" ".join(arguments.name))
        return 0
    try:
        loaded = settings.load()
        observability.configure(loaded.log.level, loaded.log.format)
        if arguments.command == "contract":
            end_last_release(loaded)
            return 0
        if arguments.command == "reset":
            reset(loaded, confirmed=arguments.confirm, forced=arguments.force)
        migrate(loaded)
        create_buckets(loaded)
        create_topics(loaded)
    except InvalidSettings as error:
        print(f"bootstrap: {error}", file=sys.stderr)  # noqa: T201  a command's output
        return 1
    except ServiceError as error:
        observability.log_failure(log, "bootstrap_failed", error)
        print(f"bootstrap: {error}", file=sys.stderr)  # noqa: T201  (same)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m shared_lib.commands.bootstrap",
        description="Create or update tables, buckets, notifications and topics, as the environment's variables say.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    resetting = commands.add_parser("reset", help="drop all tables first: all metadata is lost", allow_abbrev=False)
    resetting.add_argument("--confirm", action="store_true", help="without it, nothing is changed")
    resetting.add_argument("--force", action="store_true", help="also if there are images in the database")
    commands.add_parser(
        "contract", help="end the rights of the last release's functions, once none runs any more", allow_abbrev=False
    )
    beginning = commands.add_parser("new", help="begin a migration", allow_abbrev=False)
    beginning.add_argument("name", nargs="+", metavar="NAME", help="what it does, as `add a column`")
    return parser


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
