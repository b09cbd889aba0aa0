"""POST /api/v1/images/actions/process: see that an uploaded image is processed, and name it.

Every image gets a thumbnail; `renditions` or `preset` ask for more, now or whenever more is wanted. Idempotent. The
name and description given here win, however this call races with the upload's own event. A failed image is tried
again, but a rendition that took a decoder too much time or memory only after a minute, then two, then four.
"""

import functions_framework
from pydantic import Field

from shared_lib.errors import Conflict, NotFound
from shared_lib.events import ProcessingRequested
from shared_lib.runtime import Runtime
from shared_lib.web import ProcessingError, endpoint
from shared_lib.web.schemas import Description, Filename, ImageId, Message
from shared_lib.web.uploads import RenditionRequests

MISSING = "Image not found in storage, please upload before process"
TOO_MANY = Conflict("An image has at most 100 renditions", code="too_many_renditions")
REFUSED = [NotFound(MISSING, code="image_not_in_storage"), TOO_MANY]
STARTED = Message(message="Processing started")


class ProcessingRequest(RenditionRequests):
    uuid: ImageId
    filename: Filename | None = Field(default=None, description="Without one, the image keeps its name.")
    description: Description | None = None


@functions_framework.http
@endpoint(
    "POST", "/api/v1/images/actions/process", returns=Message, example=STARTED, errors=ProcessingError, refusals=REFUSED
)
def main(rt: Runtime, *, body: ProcessingRequest) -> Message:
    if not rt.workflow.is_stored(body.uuid):
        raise NotFound(MISSING, code="image_not_in_storage")
    describe = "description" in body.model_fields_set
    chosen = rt.rendering.choose(body.renditions, body.preset)
    if rt.images.request(body.uuid, body.filename, body.description, chosen, describe=describe):
        rt.workflow.hint(ProcessingRequested(uuid=body.uuid), function="request_processing")
    return STARTED
