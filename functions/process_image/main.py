"""Process an image: on a new object in the inbox, or on image.processing.requested.

The event is acknowledged if the image is finished, deleted, or not uploaded yet (its upload will send an event). While
another worker holds the image, the event has to be delivered again.
"""

import functions_framework

from shared_lib.consumer import Event, consumer
from shared_lib.events import read_work
from shared_lib.runtime import Runtime


@functions_framework.cloud_event
@consumer(name="process_image", needs_sandbox=True)
def main(rt: Runtime, event: Event) -> None:
    for uuid, key in rt.ingestion.resolve(read_work(event["type"], event.data, rt.inbox.name)):
        rt.processor.process(uuid, key)
