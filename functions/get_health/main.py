"""GET /api/health: tell whether the service can do its work.

`/api/health/live` says that this process answers, and asks nobody else. `/api/health/ready` is `/api/health`.
"""

from typing import Literal

import functions_framework
from pydantic import BaseModel

from shared_lib.errors import Unavailable
from shared_lib.runtime import Runtime
from shared_lib.web import endpoint

LIVE = "/api/health/live"
# For example, as the runtime says it.
KAFKA_IS_AWAY = Unavailable(
    "Out of reach: kafka", code="out_of_reach", details=[{"parameter": "kafka", "message": "does not answer"}]
)


class Health(BaseModel):
    status: Literal["ok"] = "ok"


@functions_framework.http
@endpoint("GET", "/api/health", "/api/health/ready", LIVE, returns=Health, refusals=[KAFKA_IS_AWAY])
def main(rt: Runtime, *, path: str) -> Health:
    if path != LIVE:
        rt.health.check()
    return Health()
