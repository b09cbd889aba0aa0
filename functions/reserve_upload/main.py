"""Get an upload URL that takes one file only."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import functions_framework

from shared_lib import web
from shared_lib.domain.uploads import FileTooLarge, check_codec
from shared_lib.limits import Limits
from shared_lib.runtime import Runtime
from shared_lib.web.reservations import SignedUpload, UploadReservation

ABOUT = "What you give here is signed into the URL, so the store rejects any other file. Send the response's `headers`."


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="reserve_upload",
        route=web.Route("POST", "/api/v1/images/actions/upload-url"),
        docs=web.Docs(tag="images", summary="Get a URL to upload one file of a given size and type", description=ABOUT),
        inputs=web.Inputs(body=UploadReservation),
        success=web.Success(SignedUpload, status=201),
        errors=web.Errors(web.ImageError, [FileTooLarge(Limits.max_bytes)]),
        needs="images:write",
        counts_as="uploads",
    )
)
def main(rt: Runtime, *, body: UploadReservation) -> SignedUpload:
    check_codec(body.extension)
    most = rt.settings.limits.max_bytes
    if body.size_bytes and body.size_bytes > most:
        raise FileTooLarge(most)
    uuid, seconds, size = uuid4(), rt.settings.processing.upload_url_seconds, body.size_bytes or most
    rt.images.reserve(uuid, body.filename or f"{uuid}.{body.extension}", body.description, reserved=size)
    url = rt.upload_urls.sign(uuid, seconds, body.terms)
    end = datetime.now(UTC) + timedelta(seconds=seconds)
    return SignedUpload(uuid=uuid, presigned_url=url, expires_at=end, headers=body.terms.headers)
