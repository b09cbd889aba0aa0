"""Get an upload URL that takes any file."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import functions_framework
from pydantic import BaseModel, Field

from shared_lib import web
from shared_lib.domain.uploads import Extension, check_codec
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
    check_codec(query.extension)
    uuid, seconds = uuid4(), rt.settings.processing.upload_url_seconds
    rt.images.reserve(uuid, f"{uuid}.{query.extension}", reserved=rt.settings.limits.max_bytes)
    url = rt.upload_urls.sign(uuid, seconds)
    return UploadUrl(uuid=uuid, presigned_url=url, expires_at=datetime.now(UTC) + timedelta(seconds=seconds))
