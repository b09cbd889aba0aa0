"""Check the audit log: that no record was changed or deleted since it was linked.

`python -m shared_lib.commands.audit check` reads it as the role in DATABASE_URL, which needs no more rights than
`images_auditor` has.
"""

import argparse
import sys

from pydantic import ValidationError

from shared_lib import settings
from shared_lib.database.connection import Database
from shared_lib.errors import ServiceError
from shared_lib.repositories.audit import AuditLog, BrokenChain, Head


def main(*words: str) -> int:
    """Run a command and return its exit status: 1 for a broken chain, or if it cannot be read."""
    parser = _parser()
    arguments = parser.parse_args(words)
    if arguments.command is None:
        parser.error("name a command")
    try:
        database = Database(settings.Database.read())
        head = AuditLog(database).verify(arguments.head)
    except ValidationError:
        print("audit: DATABASE_URL is missing or wrong", file=sys.stderr)  # noqa: T201  a command's output
        return 1
    except (ServiceError, BrokenChain) as error:
        print(f"audit: {error}", file=sys.stderr)  # noqa: T201  (same)
        return 1
    print(f"The audit log is whole. Its head is {head}")  # noqa: T201  (same)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m shared_lib.commands.audit",
        description="Check the audit log in the database in DATABASE_URL.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    checking = commands.add_parser("check", help="name the first link that does not fit", allow_abbrev=False)
    checking.add_argument(
        "--head", type=_read_head, metavar="NUMBER:HASH", help="an earlier head, which the chain has to contain"
    )
    return parser


def _read_head(word: str) -> Head:
    number, _, digest = word.partition(":")
    try:
        return Head(int(number), bytes.fromhex(digest))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{word!r} is no head as this command prints it") from None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
