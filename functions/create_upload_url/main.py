"""GET /api/v1/images/actions/upload-url: get a URL to put an image to.

A plain PUT of the bytes, with any Content-Type, is all it takes: the image is then processed by itself.
"""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import functions_framework
from pydantic import BaseModel, Field

from shared_lib.http import endpoint
from shared_lib.images import ImageId, Time, View
from shared_lib.runtime import Runtime
from shared_lib.uploads import Extension


class Query(BaseModel):
    extension: Extension = Field(examples=["jpg"])


class UploadUrl(View):
    uuid: ImageId
    presigned_url: str = Field(
        examples=["http://localhost:9000/upload-images/0b9c0f3e-6e0e-4f3c-8f55-2f0f3f3a9d11?X-Amz-Signature=…"]
    )
    expires_at: Time


@functions_framework.http
@endpoint("GET", "/api/v1/images/actions/upload-url", returns=UploadUrl)
def main(rt: Runtime, *, query: Query) -> UploadUrl:
    uuid, seconds = uuid4(), rt.settings.processing.upload_url_seconds
    rt.images.await_upload(uuid, f"{uuid}.{query.extension}")
    url = rt.inbox.presign_put(uuid, seconds)
    return UploadUrl(uuid=uuid, presigned_url=url, expires_at=datetime.now(UTC) + timedelta(seconds=seconds))
