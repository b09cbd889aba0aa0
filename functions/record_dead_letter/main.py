"""Record a dead letter: an event that a source gave up on, with the reason.

It fails no image: anyone may have sent it, and the outage that caused it may be over by now. The image's row still says
what is to be done, so `reconcile_images` requests it again, and its counted attempts decide when to stop.
"""

import functions_framework

from shared_lib.consumer import Event, consumer
from shared_lib.errors import Invalid
from shared_lib.events import read_reason, read_work
from shared_lib.repositories.dead_letters import DeadLetter
from shared_lib.runtime import Runtime


@functions_framework.cloud_event
@consumer(name="record_dead_letter")
def main(rt: Runtime, event: Event) -> None:
    try:
        work = read_work(event["type"], event.data, rt.inbox.name)
        images, tenant = work.images, work.tenant
    except Invalid:
        images, tenant = [], None
    code = event.get("knativeerrorcode") or ""
    rt.dead_letters.record(
        DeadLetter(
            source=event["source"],
            id=event["id"],
            type=event["type"],
            code=int(code) if code.isdecimal() and len(code) == 3 else None,
            reason=read_reason(event.get("knativeerrordata")),
            destination=event.get("knativeerrordest"),
            images=images,
            tenant=tenant,
        )
    )
