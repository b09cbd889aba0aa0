"""GET /api/v1/images/actions/upload-url: get a URL to put an image to.

A plain PUT of the bytes, with any Content-Type, is all it takes: the image is then processed by itself. To POST here is
better: then the URL takes your file and no other.
"""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import functions_framework
from pydantic import BaseModel, Field

from shared_lib.domain.uploads import Extension, find_missing_codec
from shared_lib.errors import Invalid
from shared_lib.runtime import Runtime
from shared_lib.web import endpoint
from shared_lib.web.uploads import UploadUrl


class Query(BaseModel):
    extension: Extension = Field(examples=["jpg"])


@functions_framework.http
@endpoint("GET", "/api/v1/images/actions/upload-url", returns=UploadUrl)
def main(rt: Runtime, *, query: Query) -> UploadUrl:
    if complaint := find_missing_codec(query.extension):
        raise Invalid(complaint, code="codec_missing", details=[{"parameter": "extension", "message": complaint}])
    uuid, seconds = uuid4(), rt.settings.processing.upload_url_seconds
    rt.images.await_upload(uuid, f"{uuid}.{query.extension}")
    url = rt.upload_urls.sign(uuid, seconds)
    return UploadUrl(uuid=uuid, presigned_url=url, expires_at=datetime.now(UTC) + timedelta(seconds=seconds))
