"""GET /api/v1/images/{uuid}/similar: find images that look alike, the likest first.

`distance` tells how many of the 64 bits of two images' perceptual hashes differ: 0 for the same picture, most often
below 6 for one that was resized or recompressed, and about 32 for two that have nothing in common.
"""

import functions_framework
from pydantic import BaseModel, Field

from shared_lib.domain.images import MAX_DISTANCE
from shared_lib.runtime import Runtime
from shared_lib.web import NO_IMAGE, endpoint
from shared_lib.web.schemas import ImageId, SimilarImage, show_similar_image


class Query(BaseModel):
    distance: int = Field(default=7, ge=0, le=MAX_DISTANCE, description="At most so many bits differ.")
    limit: int = Field(default=10, ge=1, le=100)


@functions_framework.http
@endpoint(
    "GET",
    "/api/v1/images/{uuid}/similar",
    returns=list[SimilarImage],
    refusals=[NO_IMAGE],
)
def main(rt: Runtime, *, uuid: ImageId, query: Query) -> list[SimilarImage]:
    return [show_similar_image(each) for each in rt.images.find_similar(uuid, query.distance, query.limit)]
