"""Preview a recipe: make a rendition of an image without storing it."""

import time

import functions_framework

from shared_lib import web
from shared_lib.errors import FailureCode, Rejected
from shared_lib.runtime import Runtime
from shared_lib.web.previews import PreviewOrder
from shared_lib.web.schemas import ImageId

TOO_LONG = Rejected(
    FailureCode.OUTPUT_SIDE_TOO_LONG, "The rendition would be 9,000 px wide; at most 8,192 are allowed."
)
ABOUT = """The response is the rendition that the recipe would make. Nothing is stored. `Server-Timing` has the
milliseconds that it took. At most `RATE_PREVIEWS_PER_MINUTE` of a caller, and two at a time of a process."""


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="preview_image",
        route=web.Route("POST", "/api/v1/images/{uuid}/preview"),
        docs=web.Docs(tag="images", summary="Preview a recipe on an image", description=ABOUT),
        inputs=web.Inputs(path={"uuid": ImageId}, body=PreviewOrder),
        success=web.Success(bytes, headers={"Server-Timing": "Milliseconds for making it, as `render;dur=…`."}),
        errors=web.Errors(web.ImageError, [web.NO_IMAGE, TOO_LONG]),
        needs="images:read",
        counts_as="previews",
    )
)
def main(rt: Runtime, *, uuid: ImageId, body: PreviewOrder) -> web.Content:
    rt.recipes.choose((body.recipe,), None)
    started = time.perf_counter()
    made = rt.delivery.engine.preview(uuid, body.recipe)
    timing = f"render;dur={(time.perf_counter() - started) * 1000:.1f}"
    return web.Content(made.data, made.content_type, {"Server-Timing": timing})
