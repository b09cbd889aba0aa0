"""Complete an upload in parts."""

import functions_framework

from shared_lib import web
from shared_lib.runtime import Runtime
from shared_lib.services.multipart import PartsMissing
from shared_lib.web.multipart import CompletedUpload
from shared_lib.web.schemas import ImageId

ABOUT = "The parts that the store has are compared with the announced size. A second time changes nothing."


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="complete_multipart_upload",
        route=web.Route("POST", "/api/v1/images/{uuid}/multipart-upload/complete"),
        docs=web.Docs(tag="images", summary="Make an image of the uploaded parts", description=ABOUT),
        inputs=web.Inputs(path={"uuid": ImageId}),
        success=web.Success(CompletedUpload),
        errors=web.Errors(web.ImageError, [web.NO_IMAGE, PartsMissing()]),
        needs="images:write",
    )
)
def main(rt: Runtime, *, uuid: ImageId) -> CompletedUpload:
    return CompletedUpload(uuid=uuid, status=rt.multipart_ingestion.complete(uuid))
