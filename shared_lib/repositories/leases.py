"""Holding a claim: its lease is renewed in the background, and let go of when the work breaks off."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from shared_lib.errors import Unavailable
from shared_lib.observability import get_logger, log_failure
from shared_lib.repositories.attempts import Claim, Superseded

log = get_logger()

_RELEASE_TRIES = 100  # a third of a lease apart: ten minutes and more


@contextmanager
def hold(claim: Claim) -> Iterator[None]:
    """Renew the claim's lease in the background while the block runs, and let go of it when the block raises."""
    ended = threading.Event()
    heartbeat = threading.Thread(target=_renew_until, args=(claim, ended), daemon=True, name="lease")
    heartbeat.start()
    try:
        yield
    except Superseded:
        raise
    except BaseException as error:
        _release(claim, error)
        raise
    finally:
        ended.set()


def _release(claim: Claim, error: BaseException) -> None:
    try:
        claim.release(error)
    except Unavailable:
        # Or the lease would run out, and what an outage of the database did would look like a worker that died.
        threading.Thread(target=_release_later, args=(claim, error), daemon=True, name="release").start()


def _release_later(claim: Claim, error: BaseException) -> None:
    for _ in range(_RELEASE_TRIES):
        time.sleep(claim.settings.lease_seconds / 3)
        with suppress(Unavailable):
            claim.release(error)
            return


def _renew_until(claim: Claim, ended: threading.Event) -> None:
    while not ended.wait(claim.settings.lease_seconds / 3):
        try:
            if not claim.renew():
                log.warning("lease_lost", image=str(claim.uuid))
                claim.lost.set()
                return
        except Unavailable as error:
            log_failure(log, "lease_not_renewed", error, image=str(claim.uuid))
