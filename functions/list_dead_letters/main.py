"""List dead letters: events that could not be delivered."""

import functions_framework
from pydantic import BaseModel, Field

from shared_lib import web
from shared_lib.runtime import Runtime
from shared_lib.web.operations import DeadLetterId, DeadLetterList, show_dead_letter


class Query(BaseModel):
    limit: int = Field(default=10, ge=1, le=100)
    after: DeadLetterId | None = Field(default=None, description="The previous page's `next`.")


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="list_dead_letters",
        route=web.Route("GET", "/api/v1/operations/dead-letters"),
        docs=web.Docs(
            tag="operations",
            summary="List dead letters, newest first",
            description="Events that could not be delivered. Their images are processed all the same, by their rows.",
        ),
        inputs=web.Inputs(query=Query),
        success=web.Success(DeadLetterList),
        errors=web.Errors(web.ImageError),
        needs="operations:read",
    )
)
def main(rt: Runtime, *, query: Query) -> DeadLetterList:
    letters = rt.dead_letters.list(query.limit + 1, int(query.after) if query.after else None)
    shown = tuple(map(show_dead_letter, letters[: query.limit]))
    return DeadLetterList(data=shown, next=shown[-1].id if len(letters) > query.limit else None)
