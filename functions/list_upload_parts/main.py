"""Tell which parts of an upload have arrived."""

import functions_framework

from shared_lib import web
from shared_lib.runtime import Runtime
from shared_lib.services.multipart import UploadComplete
from shared_lib.web.multipart import MultipartUploadProgress, show_progress
from shared_lib.web.schemas import ImageId


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="list_upload_parts",
        route=web.Route("GET", "/api/v1/images/{uuid}/multipart-upload"),
        docs=web.Docs(tag="images", summary="List the parts of an upload that have arrived, and the missing ones"),
        inputs=web.Inputs(path={"uuid": ImageId}),
        success=web.Success(MultipartUploadProgress),
        errors=web.Errors(web.ImageError, [web.NO_IMAGE, UploadComplete()]),
        needs="images:write",
    )
)
def main(rt: Runtime, *, uuid: ImageId) -> MultipartUploadProgress:
    return show_progress(rt.multipart_ingestion.describe(uuid))
