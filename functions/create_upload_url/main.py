"""Get an upload URL that takes any file."""

import functions_framework
from pydantic import BaseModel, Field

from shared_lib import web
from shared_lib.domain.uploads import Extension, UploadTerms
from shared_lib.runtime import Runtime
from shared_lib.web.reservations import SignedUpload

ABOUT = """`PUT` the bytes there, with any Content-Type. Processing starts by itself. Where callers need credentials,
`sizeBytes` is needed, and the response's `headers` have to be sent. Prefer `POST` to this path: its URL accepts only
the file that you describe."""


class Query(BaseModel):
    extension: Extension = Field(examples=["jpg"])
    size_bytes: int | None = Field(
        default=None, alias="sizeBytes", ge=1, description="The file's size.", examples=[174351]
    )


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="create_upload_url",
        route=web.Route("GET", "/api/v1/images/actions/upload-url"),
        docs=web.Docs(tag="images", summary="Get a URL to upload an image to", description=ABOUT),
        inputs=web.Inputs(query=Query),
        success=web.Success(SignedUpload),
        errors=web.Errors(web.ImageError),
        needs="images:write",
        counts_as="uploads",
    )
)
def main(rt: Runtime, *, query: Query) -> SignedUpload:
    terms = UploadTerms(size_bytes=query.size_bytes)
    made = rt.reservations.reserve(query.extension, terms)
    return SignedUpload(uuid=made.uuid, presigned_url=made.url, expires_at=made.expires_at, headers=terms.headers)
