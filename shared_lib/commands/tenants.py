"""Make a tenant, and its first admin's key, with the service's own database.

`python -m shared_lib.commands.tenants --help` lists its commands.
"""

import argparse
import sys

from shared_lib import observability, settings
from shared_lib.commands.api_keys import read_tenant, show_new_key
from shared_lib.database.connection import Database, acting_for
from shared_lib.domain.api_keys import DEFAULT_DAYS, KeyGrant
from shared_lib.domain.principals import OPERATOR, Role
from shared_lib.errors import ServiceError
from shared_lib.repositories import ApiKeys, Tenants
from shared_lib.services.key_management import KeyManagement
from shared_lib.settings import InvalidSettings


def main(*words: str) -> int:
    """Run a command and return its exit status. Only the key is on standard output."""
    parser = _parser()
    arguments = parser.parse_args(words)
    if arguments.command is None:
        parser.error("name a command")
    try:
        loaded = settings.load()
        observability.configure(loaded.log.level, loaded.log.format)
        database = Database(loaded.database)
        try:
            Tenants(database).create(arguments.name)
            grant = KeyGrant(name="first admin", role=Role.ADMIN, scopes=None, days=DEFAULT_DAYS)
            with acting_for(arguments.name):
                show_new_key(KeyManagement(ApiKeys(database)).create(grant, OPERATOR))
        finally:
            database.disconnect()
    except (InvalidSettings, ServiceError) as error:
        print(f"tenants: {error}", file=sys.stderr)  # noqa: T201  a command's output
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m shared_lib.commands.tenants",
        description="Make a tenant in the database in DATABASE_URL, and a key for its first admin.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    creating = commands.add_parser("create", help="make a tenant, and print its first key, once", allow_abbrev=False)
    creating.add_argument("name", metavar="NAME", type=read_tenant, help="lower-case letters, digits and hyphens")
    return parser


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
