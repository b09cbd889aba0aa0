"""Report whether the service works."""

from typing import Literal

import functions_framework
from pydantic import BaseModel

from shared_lib import web
from shared_lib.runtime import Runtime
from shared_lib.services.health import report_failing

READY, LIVE = "/api/health/ready", "/api/health/live"
KAFKA_IS_DOWN = report_failing({"kafka": "does not respond"})


class Health(BaseModel):
    status: Literal["ok"] = "ok"


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="get_health",
        route=web.Route("GET", "/api/health", READY, LIVE),
        docs=web.Docs(
            tag="service",
            summary="Check the service and all that it depends on",
            summaries={READY: "Check readiness (the same as /api/health)", LIVE: "Check this process alone"},
        ),
        inputs=web.Inputs(url_path=True),
        success=web.Success(Health),
        errors=web.Errors(web.ImageError, [KAFKA_IS_DOWN]),
        needs="nothing",
        is_probe=True,
    )
)
def main(rt: Runtime, *, url_path: str) -> Health:
    if url_path != LIVE:
        rt.health.check()
    return Health()
