"""Reconcile, on a schedule: find what events missed, and repair it (`shared_lib/services/reconciliation.py`).

The tick's data is `{"scope": "recent"}`, or `{"scope": "all"}` to also begin comparing the whole gallery. A tick that
comes during another one returns at once. The next tick does what that one does not reach. Each tick also fetches the
keys of the token issuers, for all functions, and has caches forget what was deleted or changed.
"""

import functions_framework

from shared_lib.consumer import Event, consumer
from shared_lib.observability import get_logger
from shared_lib.runtime import Runtime

log = get_logger()


@functions_framework.cloud_event
@consumer(name="reconcile_images")
def main(rt: Runtime, event: Event) -> None:
    rt.issuer_refresh.run()
    rt.purging.run()
    if event.data == {"scope": "all"}:
        rt.reconciliation.comparison.begin()
    with rt.drift.lock(rt.inbox.name) as locked:
        if locked:
            rt.reconciliation.run()
        else:
            log.info("reconciliation_in_progress")
