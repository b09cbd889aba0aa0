"""Keep tables in order that concern no object: delete what they have kept for long enough, and link the audit log."""

from collections.abc import Generator
from dataclasses import dataclass
from functools import partial

from shared_lib.observability import get_logger
from shared_lib.repositories.api_keys import ApiKeys
from shared_lib.repositories.audit import AuditLog
from shared_lib.repositories.dead_letters import DeadLetters
from shared_lib.repositories.drift import Drift
from shared_lib.repositories.privacy import Privacy
from shared_lib.repositories.rates import Rates
from shared_lib.services.turns import LOOKED, Turn, delete_in_bulk

log = get_logger()


@dataclass(frozen=True)
class Housekeeping:
    drift: Drift
    dead_letters: DeadLetters
    rates: Rates
    api_keys: ApiKeys
    audit_log: AuditLog
    privacy: Privacy
    tombstone_days: int
    dead_letter_days: int
    audit_days: int

    def purge(self, turn: Turn) -> Generator[str]:  # noqa: ARG002  all steps have the same signature
        """Delete tombstones, dead letters, full rates, API keys, audit records and receipts."""
        yield from delete_in_bulk("purged", partial(self.drift.purge, self.tombstone_days))
        yield from delete_in_bulk("dead_letter_purged", partial(self.dead_letters.purge, self.dead_letter_days))
        yield from delete_in_bulk("rate_purged", self.rates.purge)
        yield from delete_in_bulk("api_key_purged", self.api_keys.purge)
        yield from delete_in_bulk("audit_purged", partial(self.audit_log.purge, self.audit_days))
        yield from delete_in_bulk("receipt_purged", partial(self.privacy.purge, self.audit_days))

    def link_audit_log(self, turn: Turn) -> Generator[str]:  # noqa: ARG002  (same)
        """Link new records to the chain, and log its head: whoever keeps logs can check the chain against it."""
        linked = 0
        while count := (latest := self.audit_log.link())[0]:
            linked += count
            head = latest[1]
            yield LOOKED
        if linked:
            log.info("audit_log_linked", records=linked, head=f"{head}")
