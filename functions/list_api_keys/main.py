"""List API keys."""

import functions_framework

from shared_lib import web
from shared_lib.runtime import Runtime
from shared_lib.web.api_keys import ApiKeyList, show_key


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="list_api_keys",
        route=web.Route("GET", "/api/v1/api-keys"),
        docs=web.Docs(tag="keys", summary="List API keys, newest first", description="Up to 1,000, also dead ones."),
        success=web.Success(ApiKeyList),
        errors=web.Errors(web.ImageError),
        needs="keys:manage",
    )
)
def main(rt: Runtime) -> ApiKeyList:
    return ApiKeyList(data=tuple(show_key(each) for each in rt.key_management.list()))
