"""Try again what was given up for no fault of its own, once what was to blame is mended.

It only makes the rows say so: `reconcile_images` then asks for them, some hundreds a minute. Once more does no harm.
"""

import argparse
import sys

from shared_lib import settings
from shared_lib.database.connection import Database
from shared_lib.errors import NOT_ITS_OWN_FAULT, FailureCode, ServiceError
from shared_lib.repositories import Retries
from shared_lib.settings import InvalidSettings


def main(*words: str) -> int:
    """Answers the exit status; what went wrong is a sentence on standard error."""
    codes = _parser().parse_args(words).codes or NOT_ITS_OWN_FAULT
    try:
        told = settings.load()
        images = Retries(Database(told.database)).retry(codes, told.processing.retention_days)
    except (InvalidSettings, ServiceError) as error:
        print(f"redrive: {error}", file=sys.stderr)  # noqa: T201  the answer of a command
        return 1
    print(f"{images} images will be tried again")  # noqa: T201  (same)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m shared_lib.commands.redrive",
        description="Try again what was given up for no fault of its own, once what was to blame is mended.",
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
