"""Begin an upload in parts."""

import functions_framework

from shared_lib import web
from shared_lib.domain.uploads import FileTooLarge, check_codec
from shared_lib.limits import Limits
from shared_lib.runtime import Runtime
from shared_lib.web.multipart import LargeFile, MultipartUploadPlan, show_plan

ABOUT = """For a large file, or a connection that breaks. Divide the file as the response says, get URLs for its parts,
`PUT` them in any order and at the same time, and complete the upload. After an interruption, go on with the parts that
are missing."""


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="create_multipart_upload",
        route=web.Route("POST", "/api/v1/images/actions/multipart-upload"),
        docs=web.Docs(tag="images", summary="Begin an upload in parts", description=ABOUT),
        inputs=web.Inputs(body=LargeFile),
        success=web.Success(MultipartUploadPlan, status=201),
        errors=web.Errors(web.ImageError, [FileTooLarge(Limits.max_bytes)]),
        needs="images:write",
        counts_as="uploads",
    )
)
def main(rt: Runtime, *, body: LargeFile) -> MultipartUploadPlan:
    check_codec(body.extension)
    upload = rt.multipart_ingestion.begin(body.size_bytes, body.filename, body.extension, body.description)
    return show_plan(upload)
