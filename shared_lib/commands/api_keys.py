"""Make, list, rotate and revoke API keys, with the service's own database. The first admin's key is made here.

`python -m shared_lib.commands.api_keys --help` lists its commands.
"""

import argparse
import sys
from collections.abc import Callable
from typing import cast, get_args

from shared_lib.commands.connection import run_on_database
from shared_lib.constraints import DEFAULT_TENANT, TENANT_ID
from shared_lib.database.connection import Database
from shared_lib.domain.api_keys import DEFAULT_DAYS, MAX_DAYS, MAX_OVERLAP_HOURS, OVERLAP_HOURS, ApiKey, KeyGrant
from shared_lib.domain.principals import OPERATOR, Permission, Role
from shared_lib.domain.timestamps import format_time
from shared_lib.repositories.api_keys import ApiKeys
from shared_lib.services.key_management import IssuedKey, KeyManagement


def main(*words: str) -> int:
    """Run a command and return its exit status. Of a new key, only the key itself is on standard output."""
    parser = _parser()
    arguments = parser.parse_args(words)
    if arguments.command is None:
        parser.error("name a command")
    return run_on_database("api_keys", lambda _, database: _run(database, arguments), arguments.tenant)


def _run(database: Database, arguments: argparse.Namespace) -> None:
    keys = KeyManagement(ApiKeys(database))
    if arguments.command == "list":
        for key in keys.list():
            print(_describe(key))  # noqa: T201  a command's output
    elif arguments.command == "revoke":
        keys.revoke(arguments.id, OPERATOR)
    elif arguments.command == "rotate":
        show_new_key(keys.rotate(arguments.id, arguments.days, arguments.overlap, OPERATOR))
    else:
        scopes = cast("tuple[Permission, ...] | None", tuple(arguments.scope) if arguments.scope else None)
        grant = KeyGrant(name=arguments.name, role=Role(arguments.role), scopes=scopes, days=arguments.days)
        show_new_key(keys.create(grant, OPERATOR))


def show_new_key(issued: IssuedKey) -> None:
    """Print the key itself, and nothing else, on standard output."""
    print(issued.text)  # noqa: T201  (same)
    print(_describe(issued.key), file=sys.stderr)  # noqa: T201  (same)


def _describe(key: ApiKey) -> str:
    state = f"revoked {format_time(key.revoked_at)}" if key.revoked_at else f"expires {format_time(key.expires_at)}"
    used = f"used {format_time(key.last_used_at)}" if key.last_used_at else "never used"
    scopes = "" if key.scopes is None else f" only {' '.join(key.scopes)}"
    return f"{key.id}  {key.role}{scopes}  {state}  {used}  {key.name}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m shared_lib.commands.api_keys",
        description="Make, list, rotate and revoke API keys in the database in DATABASE_URL.",
        allow_abbrev=False,
    )
    parser.add_argument("--tenant", type=read_tenant, default=DEFAULT_TENANT, help="whose keys (default: %(default)s)")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    creating = commands.add_parser("create", help="make a key and print it, once", allow_abbrev=False)
    creating.add_argument("name", metavar="NAME", help="what the key is for")
    creating.add_argument("--role", required=True, choices=[role.value for role in Role])
    creating.add_argument("--scope", action="append", choices=get_args(Permission), help="limit it to this; repeatable")
    commands.add_parser("list", help="list the newest keys, live or not", allow_abbrev=False)
    rotating = commands.add_parser("rotate", help="make a successor and print it, once", allow_abbrev=False)
    for each in (creating, rotating):
        each.add_argument("--days", type=_between(1, MAX_DAYS), default=DEFAULT_DAYS, help="until it expires")
    rotating.add_argument(
        "--overlap",
        type=_between(0, MAX_OVERLAP_HOURS),
        default=OVERLAP_HOURS,
        metavar="HOURS",
        help="for which both keys work",
    )
    revoking = commands.add_parser("revoke", help="refuse a key from now on", allow_abbrev=False)
    for each in (rotating, revoking):
        each.add_argument("id", metavar="ID", help="the key's second part: imgp_<id>_…")
    return parser


def read_tenant(word: str) -> str:
    if not TENANT_ID.fullmatch(word):
        raise argparse.ArgumentTypeError(f"{word!r} is not made of at most 63 lower-case letters, digits and hyphens")
    return word


def _between(least: int, most: int) -> Callable[[str], int]:
    def read(word: str) -> int:
        if not (word.isascii() and word.isdecimal() and least <= int(word) <= most):
            raise argparse.ArgumentTypeError(f"{word!r} is not between {least} and {most}")
        return int(word)

    return read


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
