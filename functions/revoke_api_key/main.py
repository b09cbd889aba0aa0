"""Revoke an API key."""

import functions_framework

from shared_lib import web
from shared_lib.domain.api_keys import ApiKeyNotFound
from shared_lib.domain.principals import Principal
from shared_lib.runtime import Runtime
from shared_lib.web.api_keys import ApiKeyId
from shared_lib.web.schemas import Message

REVOKED = Message(message="API key revoked")


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="revoke_api_key",
        route=web.Route("DELETE", "/api/v1/api-keys/{key_id}"),
        docs=web.Docs(
            tag="keys", summary="Revoke an API key", description="It is refused everywhere after 5 seconds at most."
        ),
        inputs=web.Inputs(path={"key_id": ApiKeyId}, principal=True),
        success=web.Success(Message, example=REVOKED),
        errors=web.Errors(web.ImageError, [ApiKeyNotFound()]),
        needs="keys:manage",
    )
)
def main(rt: Runtime, *, key_id: ApiKeyId, principal: Principal) -> Message:
    rt.key_management.revoke(key_id, principal)
    return REVOKED
