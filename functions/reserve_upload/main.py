"""Get an upload URL that takes one file only."""

import functions_framework

from shared_lib import web
from shared_lib.domain.uploads import FileTooLarge
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
    reserved = rt.reservations.reserve(body.extension, body.terms, filename=body.filename, description=body.description)
    return SignedUpload(
        uuid=reserved.uuid, presigned_url=reserved.url, expires_at=reserved.expires_at, headers=body.terms.headers
    )
