"""List the audit log: who did what, or was denied to."""

import functions_framework
from pydantic import BaseModel, Field

from shared_lib import web
from shared_lib.runtime import Runtime
from shared_lib.web.audit import ActionName, AuditEventId, AuditEventList, show_event
from shared_lib.web.schemas import SearchText


class Query(BaseModel):
    limit: int = Field(default=20, ge=1, le=100)
    after: AuditEventId | None = Field(default=None, description="The previous page's `next`.")
    action: ActionName | None = None
    subject: SearchText | None = Field(default=None, description="An id, or the name of an operation.")


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="list_audit_events",
        route=web.Route("GET", "/api/v1/audit-events"),
        docs=web.Docs(
            tag="operations",
            summary="List the audit log, newest first",
            description="Keys, tenants and images that were made or deleted, retries, and calls that were denied.",
        ),
        inputs=web.Inputs(query=Query),
        success=web.Success(AuditEventList),
        errors=web.Errors(web.ImageError),
        needs="audit:read",
    )
)
def main(rt: Runtime, *, query: Query) -> AuditEventList:
    before = int(query.after) if query.after else None
    events = rt.audit_log.list(query.limit + 1, before, query.action, query.subject)
    shown = tuple(map(show_event, events[: query.limit]))
    return AuditEventList(data=shown, next=shown[-1].id if len(events) > query.limit else None)
