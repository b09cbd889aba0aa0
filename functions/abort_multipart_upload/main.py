"""Abort an upload in parts."""

import functions_framework

from shared_lib import web
from shared_lib.runtime import Runtime
from shared_lib.services.multipart import UploadComplete
from shared_lib.web.schemas import ImageId, Message

ABORTED = Message(message="Upload aborted")


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="abort_multipart_upload",
        route=web.Route("DELETE", "/api/v1/images/{uuid}/multipart-upload"),
        docs=web.Docs(tag="images", summary="Abort an upload, and delete its parts"),
        inputs=web.Inputs(path={"uuid": ImageId}),
        success=web.Success(Message, example=ABORTED),
        errors=web.Errors(web.ImageError, [web.NO_IMAGE, UploadComplete()]),
        needs="images:write",
    )
)
def main(rt: Runtime, *, uuid: ImageId) -> Message:
    rt.multipart_ingestion.abort(uuid)
    return ABORTED
