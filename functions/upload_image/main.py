"""POST /api/v1/images/actions/upload: upload an image, which is then processed by itself."""

import functions_framework
from pydantic import BaseModel, ConfigDict, Field, Json

from shared_lib.errors import Invalid
from shared_lib.http import UploadedFile, endpoint
from shared_lib.images import Description, ImageId, RenditionOrder
from shared_lib.pipeline.notation import Recipes
from shared_lib.runtime import Runtime
from shared_lib.uploads import check_upload


class UploadForm(RenditionOrder):
    model_config = ConfigDict(json_schema_extra={})  # text may stand for nothing, so what excludes what is no schema's
    description: Description = ""
    renditions: Json[Recipes | None] = Field(default=None, description="As JSON.", examples=['[{"name": "hero"}]'])


class UploadReceipt(BaseModel):
    uuid: ImageId
    filename: str
    status: str = "pending"
    message: str = "Upload successful and processing started"


class Upload(BaseModel):
    data: UploadReceipt


@functions_framework.http
@endpoint("POST", "/api/v1/images/actions/upload", returns=Upload, refusals={404: "There is no image to lay on"})
def main(rt: Runtime, *, file: UploadedFile | None, form: UploadForm) -> Upload:
    if file is None:
        raise Invalid("No file uploaded", code="no_file")
    check_upload(file.filename, file.content_type, len(file.data))
    recipes = rt.rendering.choose(form)
    uuid = rt.workflow.receive(file.filename, form.description or None, file.data, file.content_type, recipes)
    return Upload(data=UploadReceipt(uuid=uuid, filename=file.filename))
