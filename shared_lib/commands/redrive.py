"""Retry images and renditions that failed through no fault of their own, after the cause is fixed.

It only makes them pending. `reconcile_images` then requests them, some hundreds a minute. Running it twice is harmless.
"""

import argparse
import sys
from datetime import datetime

from shared_lib import settings
from shared_lib.database.connection import Database
from shared_lib.errors import NOT_ITS_OWN_FAULT, FailureCode, ServiceError
from shared_lib.repositories.retries import Retries
from shared_lib.settings import InvalidSettings


def main(*words: str) -> int:
    """Run the command and return its exit status. An error is one sentence on standard error."""
    given = _parser().parse_args(words)
    try:
        loaded = settings.load()
        retried = Retries(Database(loaded.database)).retry(
            given.codes or NOT_ITS_OWN_FAULT,
            loaded.processing.retention_days,
            since=given.since,
            until=given.until,
            dry_run=given.dry_run,
        )
    except (InvalidSettings, ServiceError) as error:
        print(f"redrive: {error}", file=sys.stderr)  # noqa: T201  a command's output
        return 1
    print(f"{retried.images} images {'would' if given.dry_run else 'will'} be tried again")  # noqa: T201  (same)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m shared_lib.commands.redrive",
        description="Retry images and renditions that failed through no fault of their own, after the cause is fixed.",
        epilog=f"The codes are: {', '.join(FailureCode)}.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "codes",
        nargs="*",
        metavar="CODE",
        type=_read_code,
        help=f"what images or renditions failed with (default: {', '.join(NOT_ITS_OWN_FAULT)})",
    )
    parser.add_argument("--since", metavar="TIME", type=_read_time, help="only what failed then or later")
    parser.add_argument("--until", metavar="TIME", type=_read_time, help="only what failed earlier")
    parser.add_argument("--dry-run", action="store_true", help="only count")
    return parser


def _read_time(word: str) -> datetime:
    try:
        return datetime.fromisoformat(word).astimezone()
    except ValueError:
        raise argparse.ArgumentTypeError(f"{word!r} is no time; this is one: 2026-03-08T19:02:11Z") from None


def _read_code(word: str) -> FailureCode:
    try:
        return FailureCode(word)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{word!r} is no failure code; these are: {', '.join(FailureCode)}") from None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
