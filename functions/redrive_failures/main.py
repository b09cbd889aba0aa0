"""Redrive: retry what failed for reasons outside the images. `make redrive` does the same."""

import functions_framework

from shared_lib import web
from shared_lib.domain.principals import Principal
from shared_lib.observability import get_logger
from shared_lib.runtime import Runtime
from shared_lib.web.operations import MAX_RETRIED, Redriven, RedriveOrder

ABOUT = f"""Images become pending, and are then processed, some hundreds a minute. Renditions are requested again. To
repeat the request is harmless. One request retries at most {MAX_RETRIED:,} images: repeat it while `mayHaveMore`."""
log = get_logger()


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="redrive_failures",
        route=web.Route("POST", "/api/v1/operations/actions/redrive"),
        docs=web.Docs(tag="operations", summary="Retry images and renditions that failed", description=ABOUT),
        inputs=web.Inputs(body=RedriveOrder, principal=True),
        success=web.Success(Redriven),
        errors=web.Errors(web.ImageError),
        needs="operations:write",
    )
)
def main(rt: Runtime, *, body: RedriveOrder, principal: Principal) -> Redriven:
    days = rt.settings.processing.retention_days
    when = {"since": body.failed_since, "until": body.failed_until}
    retried = rt.retries.retry(body.codes, days, **when, most=MAX_RETRIED, dry_run=body.dry_run)
    log.info("redriven", codes=body.codes, images=retried.images, dry_run=body.dry_run, by=principal.name)
    return Redriven(images=retried.images, may_have_more=retried.may_have_more, dry_run=body.dry_run)
