"""Delete many images."""

import functions_framework

from shared_lib import web
from shared_lib.runtime import Runtime
from shared_lib.web.bulk import BulkResult, ImageList, report

ABOUT = """Up to 100, each as if it were deleted alone. To repeat the request is harmless: images that are gone are
then in `failed`, with the code `image_not_found`."""


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="delete_images",
        route=web.Route("POST", "/api/v1/images/actions/delete"),
        docs=web.Docs(tag="images", summary="Delete many images", description=ABOUT),
        inputs=web.Inputs(body=ImageList),
        success=web.Success(BulkResult),
        errors=web.Errors(web.ImageError),
        needs="images:write",
    )
)
def main(rt: Runtime, *, body: ImageList) -> BulkResult:
    deleted = rt.images.delete_all(body.uuids)
    rt.finisher.try_to_clean_up_all(deleted)
    return report(body.uuids, deleted)
