"""Get an upload URL that takes any file."""

import functions_framework
from pydantic import BaseModel, Field

from shared_lib import web
from shared_lib.domain.uploads import Extension, UploadTerms
from shared_lib.runtime import Runtime
from shared_lib.web.reservations import UploadUrl

ABOUT = """`PUT` the bytes there, with any Content-Type. Processing starts by itself. Prefer `POST` to this path:
its URL accepts only the file that you describe."""


class Query(BaseModel):
    extension: Extension = Field(examples=["jpg"])


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="create_upload_url",
        route=web.Route("GET", "/api/v1/images/actions/upload-url"),
        docs=web.Docs(tag="images", summary="Get a URL to upload an image to", description=ABOUT),
        inputs=web.Inputs(query=Query),
        success=web.Success(UploadUrl),
        errors=web.Errors(web.ImageError),
        needs="images:write",
        counts_as="uploads",
    )
)
def main(rt: Runtime, *, query: Query) -> UploadUrl:
    reserved = rt.reservations.reserve(query.extension, UploadTerms())
    return UploadUrl(uuid=reserved.uuid, presigned_url=reserved.url, expires_at=reserved.expires_at)
