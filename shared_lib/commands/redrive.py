"""Retry images and renditions that failed through no fault of their own, after the cause is fixed.

It only makes them pending. `reconcile_images` then requests them, some hundreds a minute. Running it twice is harmless.
"""

import argparse
import sys

from shared_lib import settings
from shared_lib.database.connection import Database
from shared_lib.errors import NOT_ITS_OWN_FAULT, FailureCode, ServiceError
from shared_lib.repositories import Retries
from shared_lib.settings import InvalidSettings


def main(*words: str) -> int:
    """Run the command and return its exit status. An error is one sentence on standard error."""
    codes = _parser().parse_args(words).codes or NOT_ITS_OWN_FAULT
    try:
        loaded = settings.load()
        images = Retries(Database(loaded.database)).retry(codes, loaded.processing.retention_days)
    except (InvalidSettings, ServiceError) as error:
        print(f"redrive: {error}", file=sys.stderr)  # noqa: T201  a command's output
        return 1
    print(f"{images} images will be tried again")  # noqa: T201  (same)
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
    return parser


def _read_code(word: str) -> FailureCode:
    try:
        return FailureCode(word)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{word!r} is no failure code; these are: {', '.join(FailureCode)}") from None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
