"""On a tick: make what should be true, true; see `shared_lib/reconciliation.py` for what that is.

The tick's data says how far to look: `{"scope": "recent"}`, or `{"scope": "all"}` to begin comparing the whole store.
"""

import functions_framework

from shared_lib.consumer import Event, consumer
from shared_lib.runtime import Runtime


@functions_framework.cloud_event
@consumer
def main(rt: Runtime, event: Event) -> None:
    rt.reconciliation.run(everything=event.data == {"scope": "all"})
