"""POST /api/v1/images/actions/upload-url: get a URL to put one image to, of the size and type that are given here.

The store refuses any other: what is given here is signed into the URL, and has to be sent as the answer's headers say.
"""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import functions_framework

from shared_lib.domain.uploads import find_missing_codec
from shared_lib.errors import Invalid, TooLarge
from shared_lib.runtime import Runtime
from shared_lib.web import endpoint
from shared_lib.web.uploads import SignedUpload, UploadReservation


@functions_framework.http
@endpoint(
    "POST",
    "/api/v1/images/actions/upload-url",
    returns=SignedUpload,
    status=201,
    refusals=[TooLarge("The file may have at most 104,857,600 bytes", code="file_too_large")],
)
def main(rt: Runtime, *, body: UploadReservation) -> SignedUpload:
    if complaint := find_missing_codec(body.extension):
        raise Invalid(complaint, code="codec_missing", details=[{"parameter": "extension", "message": complaint}])
    most = rt.settings.limits.max_bytes
    if body.size_bytes and body.size_bytes > most:
        raise TooLarge(f"The file may have at most {most:,} bytes", code="file_too_large")
    uuid, seconds = uuid4(), rt.settings.processing.upload_url_seconds
    rt.images.await_upload(uuid, body.filename or f"{uuid}.{body.extension}", body.description)
    url = rt.upload_urls.sign(uuid, seconds, body.terms)
    expires_at = datetime.now(UTC) + timedelta(seconds=seconds)
    return SignedUpload(uuid=uuid, presigned_url=url, expires_at=expires_at, headers=body.terms.headers)
