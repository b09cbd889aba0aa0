"""Find images that look like another."""

import functions_framework
from pydantic import BaseModel, Field

from shared_lib import web
from shared_lib.domain.images import MAX_DISTANCE
from shared_lib.runtime import Runtime
from shared_lib.web.schemas import ImageId, SimilarImage, show_similar_image

ABOUT = """`distance` is the number of bits, out of 64, in which the perceptual hashes of two images differ. It is 0 for
the same picture, usually below 6 for a resized or recompressed copy, and about 32 for unrelated images."""


class Query(BaseModel):
    distance: int = Field(default=7, ge=0, le=MAX_DISTANCE, description="The most bits that may differ.")
    limit: int = Field(default=10, ge=1, le=100)


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="find_similar_images",
        route=web.Route("GET", "/api/v1/images/{uuid}/similar"),
        docs=web.Docs(tag="images", summary="Find similar images, closest first", description=ABOUT),
        inputs=web.Inputs(path={"uuid": ImageId}, query=Query),
        success=web.Success(list[SimilarImage]),
        errors=web.Errors(web.ImageError, [web.NO_IMAGE]),
        needs="images:read",
    )
)
def main(rt: Runtime, *, uuid: ImageId, query: Query) -> list[SimilarImage]:
    return [show_similar_image(each) for each in rt.image_queries.find_similar(uuid, query.distance, query.limit)]
