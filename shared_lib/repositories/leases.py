"""Keep the leases of this process's claims: one background thread renews all of them by one statement."""

import threading
import time
from dataclasses import dataclass, field
from uuid import UUID

from shared_lib.database.connection import Database
from shared_lib.errors import Conflict, Unavailable
from shared_lib.observability import get_logger, log_failure
from shared_lib.repositories import lifecycle

log = get_logger()

LOST = "The image was deleted or claimed anew while it was processed"


class Superseded(Conflict):
    """The claim was lost on the way: the image was deleted, ended or claimed by someone else. Publish nothing."""

    def __init__(self) -> None:
        super().__init__(LOST)


@dataclass(frozen=True, slots=True)
class Lease:
    """The right of one worker to one image. A higher fence ends it."""

    uuid: UUID
    fence: int
    lost: threading.Event = field(default_factory=threading.Event, compare=False)
    """Set when a renewal finds that someone else has the image, or that it is gone."""

    def ensure_held(self) -> None:
        """Raise Superseded if the lease is known to be lost: any more work on the image would be wasted."""
        if self.lost.is_set():
            raise Superseded


class LeaseKeeper:
    def __init__(self, database: Database, seconds: float) -> None:
        """A lease lasts for so many seconds, and is renewed after a third of them."""
        self._database = database
        self._seconds = seconds
        self._changing = threading.Lock()
        self._held: dict[tuple[UUID, int], Lease] = {}
        self._thread: threading.Thread | None = None

    def keep(self, lease: Lease) -> None:
        """Renew the lease until it is dropped or lost."""
        with self._changing:
            self._held[lease.uuid, lease.fence] = lease
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True, name="leases")
                self._thread.start()

    def drop(self, lease: Lease) -> None:
        with self._changing:
            self._held.pop((lease.uuid, lease.fence), None)

    def renew(self) -> None:
        """Renew all leases now."""
        with self._changing:
            held = list(self._held.values())
        if not held:
            return
        try:
            renewed = self._write(held)
        except Unavailable as error:
            log_failure(log, "leases_not_renewed", error, images=[str(each.uuid) for each in held])
            return
        for lease in held:
            if (lease.uuid, lease.fence) not in renewed and not self._is_dropped(lease):
                log.warning("lease_lost", image=str(lease.uuid))
                lease.lost.set()
                self.drop(lease)

    def _write(self, held: list[Lease]) -> set[tuple[UUID, int]]:
        uuids, fences = [lease.uuid for lease in held], [lease.fence for lease in held]
        with self._database.transaction(durable=False) as tx:  # if that is lost, the lease runs out early
            rows = tx.last(lifecycle.RENEW_LEASES, uuids=uuids, fences=fences, lease=self._seconds)
        return {(row["uuid"], row["fence"]) for row in rows}

    def _is_dropped(self, lease: Lease) -> bool:
        with self._changing:
            return (lease.uuid, lease.fence) not in self._held

    def _run(self) -> None:
        while True:
            time.sleep(self._seconds / 3)
            try:
                self.renew()
            except Exception:  # a bug must not end the renewal of all leases
                log.exception("leases_not_renewed")
