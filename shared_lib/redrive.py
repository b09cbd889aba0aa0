"""Try again what was given up for no fault of its own, once what was to blame is mended.

python -m shared_lib.redrive          what broke off or never got through, as in an outage
python -m shared_lib.redrive CODE …   what was refused with these codes, as after a release that mends a decoder

It only makes the rows say so: `reconcile_images` then asks for them, some hundreds a minute. Once more does no harm.
"""

import sys

from shared_lib import settings
from shared_lib.database import Database
from shared_lib.errors import FailureCode, ServiceError
from shared_lib.repositories import DeadLetters
from shared_lib.settings import InvalidSettings

NOT_ITS_OWN_FAULT = (FailureCode.DELIVERY_GIVEN_UP, FailureCode.WORKER_LOST, FailureCode.DECODER_CRASHED)


def main(*words: str) -> int:
    """Answers the exit status; what went wrong is a sentence on standard error."""
    try:
        codes = [FailureCode(word) for word in words] or NOT_ITS_OWN_FAULT
        told = settings.load()
        images = DeadLetters(Database(told.database)).redrive(codes, told.processing.retention_days)
    except (ValueError, InvalidSettings, ServiceError) as error:
        print(f"redrive: {error}", file=sys.stderr)  # noqa: T201  the answer of a command
        return 1
    print(f"{images} images will be tried again")  # noqa: T201  (same)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
