"""On an event that a source gave up on: write it down with its reason, and fail the image that it was about."""

import functions_framework

from shared_lib.consumer import Event, consumer
from shared_lib.errors import FailureCode, Invalid
from shared_lib.events import read_reason, read_work
from shared_lib.repositories import DeadLetter
from shared_lib.runtime import Runtime


@functions_framework.cloud_event
@consumer
def main(rt: Runtime, event: Event) -> None:
    try:
        images = read_work(event["type"], event.data, rt.inbox.name).images
    except Invalid:
        images = []
    code, reason = event.get("knativeerrorcode"), read_reason(event.get("knativeerrordata"))
    rt.dead_letters.record(
        DeadLetter(
            source=event["source"],
            id=event["id"],
            type=event["type"],
            image=images[0] if images else None,
            code=int(code) if code and code.isdecimal() else None,
            reason=reason,
            destination=event.get("knativeerrordest"),
            data=event.raw,
        )
    )
    for image in images:
        if rt.images.fail(image, FailureCode.DELIVERY_GIVEN_UP, f"Processing was given up: {reason}"):
            rt.workflow.conclude(image, function="record_dead_letter")
