"""On a tick: make what should be true, true; see `shared_lib/services/reconciliation.py` for what that is.

The tick's data says how far to look: `{"scope": "recent"}`, or `{"scope": "all"}` to begin comparing the whole store.
One that comes while another is at work is done with at once: what that one does not reach, the next one does.
"""

import functions_framework

from shared_lib.consumer import Event, consumer
from shared_lib.observability import get_logger
from shared_lib.runtime import Runtime

log = get_logger()


@functions_framework.cloud_event
@consumer(name="reconcile_images")
def main(rt: Runtime, event: Event) -> None:
    drift = rt.reconciliation.drift
    if event.data == {"scope": "all"}:
        drift.begin_scan(rt.gallery.name)
    with drift.take_turn(rt.inbox.name) as mine:
        if mine:
            rt.reconciliation.run(everything=False)
        else:
            log.info("reconciliation_under_way")
