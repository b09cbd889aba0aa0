"""Get a dead letter: an event that could not be delivered."""

import functions_framework

from shared_lib import web
from shared_lib.domain.operations import DeadLetterNotFound
from shared_lib.runtime import Runtime
from shared_lib.web.operations import DeadLetter, DeadLetterId, show_dead_letter


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="get_dead_letter",
        route=web.Route("GET", "/api/v1/operations/dead-letters/{letter_id}"),
        docs=web.Docs(tag="operations", summary="Get a dead letter"),
        inputs=web.Inputs(path={"letter_id": DeadLetterId}),
        success=web.Success(DeadLetter),
        errors=web.Errors(web.ImageError, [DeadLetterNotFound()]),
        needs="operations:read",
    )
)
def main(rt: Runtime, *, letter_id: DeadLetterId) -> DeadLetter:
    return show_dead_letter(rt.dead_letters.get(int(letter_id)))
