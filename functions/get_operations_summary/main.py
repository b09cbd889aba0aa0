"""Get the state of the whole service."""

import functions_framework

from shared_lib import web
from shared_lib.runtime import Runtime
from shared_lib.web.operations import Summary, show_summary


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="get_operations_summary",
        route=web.Route("GET", "/api/v1/operations/summary"),
        docs=web.Docs(tag="operations", summary="Get the state of the whole service"),
        success=web.Success(Summary),
        errors=web.Errors(web.ImageError),
        needs="operations:read",
    )
)
def main(rt: Runtime) -> Summary:
    return show_summary(rt.operations.summarize())
