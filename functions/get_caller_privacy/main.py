"""Tell what is stored about a caller."""

import functions_framework
from pydantic import BaseModel, Field

from shared_lib import web
from shared_lib.runtime import Runtime
from shared_lib.web.privacy import CallerPrivacy, show_caller
from shared_lib.web.schemas import PrincipalName


class Query(BaseModel):
    principal: PrincipalName = Field(
        description="`key:…`, or an issuer and its subject: `https://issuer#subject`.",
        examples=["key:4tR9kQ2mZx"],
    )


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="get_caller_privacy",
        route=web.Route("GET", "/api/v1/privacy"),
        docs=web.Docs(tag="operations", summary="Get what is stored about a caller"),
        inputs=web.Inputs(query=Query),
        success=web.Success(CallerPrivacy),
        errors=web.Errors(web.ImageError),
        needs="audit:read",
    )
)
def main(rt: Runtime, *, query: Query) -> CallerPrivacy:
    return show_caller(rt.privacy.describe_caller(query.principal), rt.settings)
