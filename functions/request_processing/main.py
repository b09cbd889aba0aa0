"""Request an uploaded image's processing."""

import functions_framework

from shared_lib import web
from shared_lib.domain.uploads import UploadMissing
from shared_lib.events import ProcessingRequested
from shared_lib.repositories.rendition_requests import TooManyRenditions
from shared_lib.runtime import Runtime
from shared_lib.web.schemas import Message
from shared_lib.web.uploads import ProcessingRequest

STARTED = Message(message="Processing started")

ABOUT = """Every image gets a thumbnail. `renditions` or `preset` request more, now or at any later time.
Idempotent. The filename and description given here win, even if the upload's own event comes later. A failed image is
tried again. A rendition that exceeded its time or memory is tried again only after one minute, then two, then four."""


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="request_processing",
        route=web.Route("POST", "/api/v1/images/actions/process"),
        docs=web.Docs(tag="images", summary="Set an image's filename and request processing", description=ABOUT),
        inputs=web.Inputs(body=ProcessingRequest),
        success=web.Success(Message, example=STARTED),
        errors=web.Errors(web.ProcessingError, [UploadMissing(), TooManyRenditions()]),
        needs="images:write",
        counts_as="processing",
    )
)
def main(rt: Runtime, *, body: ProcessingRequest) -> Message:
    if not rt.ingestion.is_stored(body.uuid):
        raise UploadMissing
    describe = "description" in body.model_fields_set
    chosen = rt.recipes.choose(body.renditions, body.preset)
    if rt.images.request(body.uuid, body.filename, body.description, chosen, describe=describe):
        rt.announcer.publish_best_effort(ProcessingRequested(uuid=body.uuid, tenant=rt.images.tenant))
    return STARTED
