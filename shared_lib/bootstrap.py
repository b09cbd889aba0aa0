"""What must exist before the first function runs: tables, buckets, notifications, topics. Idempotent, same everywhere.

python -m shared_lib.bootstrap            bring everything up to date
python -m shared_lib.bootstrap reset      first undo every migration: all metadata is lost
python -m shared_lib.bootstrap new NAME   begin a migration
"""

import sys
from pathlib import Path

from alembic import command
from alembic.config import Config

from shared_lib import observability, settings
from shared_lib.broker import Broker
from shared_lib.database import open_for_migrations, translating
from shared_lib.errors import ServiceError
from shared_lib.events import TOPICS
from shared_lib.settings import InvalidSettings, Settings
from shared_lib.storage import Store

log = observability.get_logger()

MIGRATIONS = Path(__file__).parent / "migrations"


def alembic_config(told: Settings | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    if told is not None:
        config.attributes["connect"] = lambda: open_for_migrations(told.database)
    return config


def migrate(told: Settings, *, reset: bool = False) -> None:
    """Bring the database to the newest version. Raises Unavailable when it cannot be reached."""
    config = alembic_config(told)
    with translating():
        if reset:
            command.downgrade(config, "base")
        command.upgrade(config, "head")
    log.info("database_migrated")


def create_buckets(told: Settings) -> None:
    """Create both buckets and, where the store itself notifies, its notification for the inbox."""
    store = Store(told.store)
    store.create_buckets()
    if told.store.notification_arn:
        store.notify(told.store.notification_arn)
    log.info("buckets_ready", notifications=bool(told.store.notification_arn))


def create_topics(told: Settings) -> None:
    Broker(told.kafka).create_topics(*TOPICS)
    log.info("topics_ready", topics=TOPICS)


def main(*words: str) -> int:
    """Answers the exit status; what went wrong is a sentence on standard error."""
    if words[:1] == ("new",):
        number = len(list((MIGRATIONS / "versions").glob("*.py"))) + 1
        command.revision(alembic_config(), message=" ".join(words[1:]), rev_id=f"{number:04}")
        return 0
    try:
        told = settings.load()
        observability.configure(told.log.level, told.log.format)
        migrate(told, reset="reset" in words)
        create_buckets(told)
        create_topics(told)
    except (InvalidSettings, ServiceError) as error:
        print(f"bootstrap: {error}", file=sys.stderr)  # noqa: T201  the answer of a command
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
