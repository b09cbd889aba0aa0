"""List the attempts at processing an image."""

import functions_framework

from shared_lib import web
from shared_lib.runtime import Runtime
from shared_lib.web.operations import AttemptList, show_attempt
from shared_lib.web.schemas import ImageId

MOST = 100


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="list_attempts",
        route=web.Route("GET", "/api/v1/images/{uuid}/attempts"),
        docs=web.Docs(
            tag="images",
            summary="List the attempts at processing an image",
            description=f"The last {MOST}, newest first.",
        ),
        inputs=web.Inputs(path={"uuid": ImageId}),
        success=web.Success(AttemptList),
        errors=web.Errors(web.ImageError, [web.NO_IMAGE]),
        needs="images:read",
    )
)
def main(rt: Runtime, *, uuid: ImageId) -> AttemptList:
    return AttemptList(data=tuple(map(show_attempt, rt.image_queries.list_attempts(uuid, MOST))))
