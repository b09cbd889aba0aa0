"""Get URLs for parts of an upload."""

from datetime import UTC, datetime, timedelta

import functions_framework

from shared_lib import web
from shared_lib.runtime import Runtime
from shared_lib.services.multipart import UploadComplete
from shared_lib.web.multipart import PartsToSign, SignedPart, SignedParts
from shared_lib.web.schemas import ImageId

ABOUT = "Each URL takes one part of exactly its size. A part that is uploaded again replaces the earlier one."


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="sign_upload_parts",
        route=web.Route("POST", "/api/v1/images/{uuid}/multipart-upload/parts"),
        docs=web.Docs(tag="images", summary="Get URLs to put parts of a file to", description=ABOUT),
        inputs=web.Inputs(path={"uuid": ImageId}, body=PartsToSign),
        success=web.Success(SignedParts),
        errors=web.Errors(web.ImageError, [web.NO_IMAGE, UploadComplete()]),
        needs="images:write",
    )
)
def main(rt: Runtime, *, uuid: ImageId, body: PartsToSign) -> SignedParts:
    upload, urls = rt.multipart_ingestion.sign(uuid, body.part_numbers)
    signed = tuple(
        SignedPart(part_number=number, size_bytes=upload.size_of(number), presigned_url=url)
        for number, url in zip(body.part_numbers, urls, strict=True)
    )
    seconds = rt.settings.processing.upload_url_seconds
    return SignedParts(parts=signed, expires_at=datetime.now(UTC) + timedelta(seconds=seconds))
