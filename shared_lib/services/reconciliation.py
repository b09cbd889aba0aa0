"""Reconcile: find what events missed, repair it, and count the repairs.

Every step may run twice at once and be killed at any point: it ends in the same state. A tick has a budget of time and,
in each step, of rows or objects. The next tick does what it does not reach. Whatever cannot be repaired is deferred
behind all others: rows by a time of their own, objects by the scan's position in their bucket.
"""

from dataclasses import dataclass

from shared_lib.repositories.drift import BATCH, Drift
from shared_lib.repositories.operations import Operations
from shared_lib.services.abandoned_uploads import AbandonedUploads
from shared_lib.services.comparison import Comparison
from shared_lib.services.housekeeping import Housekeeping
from shared_lib.services.recovery import Recovery
from shared_lib.services.retention import Retention
from shared_lib.services.turns import Step, run_in_turns
from shared_lib.settings import Reconciliation as Budget


@dataclass(frozen=True)
class Reconciliation:
    drift: Drift
    operations: Operations
    recovery: Recovery
    abandoned_uploads: AbandonedUploads
    retention: Retention
    housekeeping: Housekeeping
    comparison: Comparison
    budget: Budget
    batch: int = BATCH

    def run(self) -> dict[str, int]:
        """Repair what is in reach, and return how often each repair was made.

        An item that cannot be repaired counts as `not_repaired`. Raises the first failure of a whole step, after all
        steps have run.
        """
        before = self.drift.read_clock()
        return dict(run_in_turns(self._steps(), self.budget, before, self.batch, self.operations.record_run))

    def _steps(self) -> tuple[Step, ...]:
        return (
            self.recovery.scan_inbox,
            self.recovery.request_overdue,
            self.abandoned_uploads.expire_uploads,
            self.abandoned_uploads.abort_uploads,
            self.retention.expire_originals,
            self.retention.expire_deliveries,
            self.retention.expire_foreign_images,
            self.recovery.announce,
            self.recovery.clean_up,
            self.housekeeping.purge,
            self.housekeeping.link_audit_log,
            self.comparison.compare_gallery,
        )
