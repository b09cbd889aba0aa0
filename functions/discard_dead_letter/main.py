"""Discard a dead letter that was dealt with."""

import functions_framework

from shared_lib import web
from shared_lib.domain.principals import Principal
from shared_lib.observability import get_logger
from shared_lib.runtime import Runtime
from shared_lib.web.operations import DeadLetterId
from shared_lib.web.schemas import Message

DISCARDED = Message(message="Dead letter discarded")
log = get_logger()


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="discard_dead_letter",
        route=web.Route("DELETE", "/api/v1/operations/dead-letters/{letter_id}"),
        docs=web.Docs(
            tag="operations", summary="Discard a dead letter", description="To repeat the request is harmless."
        ),
        inputs=web.Inputs(path={"letter_id": DeadLetterId}, principal=True),
        success=web.Success(Message, example=DISCARDED),
        errors=web.Errors(web.ImageError),
        needs="operations:write",
    )
)
def main(rt: Runtime, *, letter_id: DeadLetterId, principal: Principal) -> Message:
    rt.dead_letters.discard(int(letter_id))
    log.info("dead_letter_discarded", letter=letter_id, by=principal.name)
    return DISCARDED
