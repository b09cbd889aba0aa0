"""Move many images into a collection, or out of theirs."""

import functions_framework
from pydantic import Field

from shared_lib import web
from shared_lib.runtime import Runtime
from shared_lib.web.bulk import BulkResult, ImageList, report
from shared_lib.web.schemas import CollectionId

ABOUT = """Up to 100. Unlike adding to a collection, this moves those that there are, and reports the others by their
uuid. To repeat the request is harmless."""


class ImageMove(ImageList):
    collection_id: CollectionId | None = Field(description="Null takes the images out of their collections.")


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="move_images",
        route=web.Route("POST", "/api/v1/images/actions/move"),
        docs=web.Docs(tag="images", summary="Move many images into a collection, or out of theirs", description=ABOUT),
        inputs=web.Inputs(body=ImageMove),
        success=web.Success(BulkResult),
        errors=web.Errors(web.ImageError, [web.NO_COLLECTION]),
        needs="collections:write",
    )
)
def main(rt: Runtime, *, body: ImageMove) -> BulkResult:
    return report(body.uuids, rt.collections.move_images(body.uuids, body.collection_id))
