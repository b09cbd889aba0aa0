"""POST /api/v1/images/actions/upload: upload an image, which is then processed by itself."""

import functions_framework
from pydantic import BaseModel

from shared_lib.domain.uploads import check_upload
from shared_lib.errors import Invalid, NotFound
from shared_lib.runtime import Runtime
from shared_lib.web import UploadedFile, endpoint
from shared_lib.web.schemas import Filename, ImageId
from shared_lib.web.uploads import UploadForm

NO_FILE = "No file uploaded"
NO_WATERMARK = NotFound("There is no processed image … to lay on another", code="watermark_not_found")


class UploadReceipt(BaseModel):
    uuid: ImageId
    filename: Filename
    status: str = "pending"
    message: str = "Upload successful and processing started"


class Upload(BaseModel):
    data: UploadReceipt


@functions_framework.http
@endpoint(
    "POST",
    "/api/v1/images/actions/upload",
    returns=Upload,
    refusals=[Invalid(NO_FILE, code="no_file"), NO_WATERMARK],
)
def main(rt: Runtime, *, file: UploadedFile | None, form: UploadForm) -> Upload:
    if file is None:
        raise Invalid(NO_FILE, code="no_file")
    check_upload(file.filename, file.content_type, len(file.data))
    recipes = rt.rendering.choose(form.renditions, form.preset)
    uuid = rt.workflow.receive(file.filename, form.description or None, file.data, file.content_type, recipes)
    return Upload(data=UploadReceipt(uuid=uuid, filename=file.filename))
