"""Upload an image."""

import functions_framework

from shared_lib import web
from shared_lib.domain.uploads import NoFile, check_upload
from shared_lib.runtime import Runtime
from shared_lib.services.recipes import WatermarkNotFound
from shared_lib.web.uploads import UploadedImage, UploadForm, UploadResponse


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="upload_image",
        route=web.Route("POST", "/api/v1/images/actions/upload"),
        docs=web.Docs(tag="images", summary="Upload an image", description="Its processing starts by itself."),
        inputs=web.Inputs(form=UploadForm),
        success=web.Success(UploadResponse),
        errors=web.Errors(web.ImageError, [NoFile(), WatermarkNotFound("…")]),
        needs="images:write",
        counts_as="uploads",
    )
)
def main(rt: Runtime, *, file: web.UploadedFile, form: UploadForm) -> UploadResponse:
    check_upload(file.filename, file.content_type, len(file.data))
    recipes = rt.recipes.choose(form.renditions, form.preset)
    uuid = rt.ingestion.ingest(file.filename, form.description or None, file.data, file.content_type, recipes)
    return UploadResponse(data=UploadedImage(uuid=uuid, filename=file.filename))
