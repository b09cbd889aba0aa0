"""Create an API key."""

import functions_framework

from shared_lib import web
from shared_lib.domain.principals import Principal
from shared_lib.runtime import Runtime
from shared_lib.web.api_keys import KeyOrder, NewKeyEnvelope, show_new_key

ABOUT = "The response has the whole key, which is not shown again. A key may do no more than the caller who makes it."


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="create_api_key",
        route=web.Route("POST", "/api/v1/api-keys"),
        docs=web.Docs(tag="keys", summary="Create an API key", description=ABOUT),
        inputs=web.Inputs(body=KeyOrder, principal=True),
        success=web.Success(NewKeyEnvelope, status=201),
        errors=web.Errors(web.ImageError),
        needs="keys:manage",
    )
)
def main(rt: Runtime, *, body: KeyOrder, principal: Principal) -> NewKeyEnvelope:
    return show_new_key(rt.key_management.create(body.grant, principal))
