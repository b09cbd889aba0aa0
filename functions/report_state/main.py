"""Report the state of the service as metrics, for Prometheus inside the cluster."""

import functions_framework

from shared_lib import exposition, web
from shared_lib.runtime import Runtime


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="report_state",
        route=web.Route("GET", "/metrics"),
        docs=web.Docs(tag="operations", summary="Report the state of the service as metrics", is_hidden=True),
        success=web.Success(bytes),
        errors=web.Errors(web.ImageError),
        needs="nothing",
        is_private=True,
        is_probe=True,
    )
)
def main(rt: Runtime) -> web.Content:
    return web.Content(exposition.write_state(*rt.state_report.measure()), exposition.CONTENT_TYPE)
