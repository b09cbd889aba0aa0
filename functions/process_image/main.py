"""On a new object in the inbox, or image.processing.requested: render the image, publish it, tell of it.

Accepted only when the image has ended, is gone, or has no object yet, whose own event is then to come; while someone
else holds it, the event has to come again.
"""

import functions_framework

from shared_lib.consumer import Event, consumer
from shared_lib.errors import Rejected
from shared_lib.events import read_work
from shared_lib.runtime import Runtime


@functions_framework.cloud_event
@consumer(name="process_image", needs_sandbox=True)
def main(rt: Runtime, event: Event) -> None:
    for uuid in rt.workflow.admit(read_work(event["type"], event.data, rt.inbox.name)):
        with rt.images.claim(uuid) as claim:
            if claim:
                try:
                    original = rt.rendering.read_original(claim)
                    if original is None:
                        claim.withdraw()
                        continue
                    rendered = rt.rendering.render(claim, original)
                except Rejected as reason:
                    rt.workflow.give_up(claim, reason)
                else:
                    rt.rendering.publish(claim, original, rendered)
        rt.workflow.conclude(uuid)
