"""GET /api/v1/images/{uuid}: show one image."""

import functions_framework

from shared_lib.http import endpoint
from shared_lib.images import Image, ImageId
from shared_lib.runtime import Runtime


@functions_framework.http
@endpoint("GET", "/api/v1/images/{uuid}", returns=Image, refusals={404: "Image not found"})
def main(rt: Runtime, *, uuid: ImageId) -> Image:
    return rt.images.get(uuid)
