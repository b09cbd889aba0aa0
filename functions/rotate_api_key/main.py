"""Rotate an API key."""

import functions_framework

from shared_lib import web
from shared_lib.domain.api_keys import DEFAULT_DAYS, OVERLAP_HOURS, ApiKeyNotFound, KeyNotRotatable
from shared_lib.domain.principals import Principal
from shared_lib.runtime import Runtime
from shared_lib.web.api_keys import ApiKeyId, ExpiresInDays, NewKeyEnvelope, OverlapHours, show_new_key
from shared_lib.web.schemas import ApiModel

ABOUT = """Makes a key with the same name and rights. Both work until the old one expires, `overlapHours` from now."""


class Rotation(ApiModel):
    overlap_hours: OverlapHours = OVERLAP_HOURS
    expires_in_days: ExpiresInDays = DEFAULT_DAYS


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="rotate_api_key",
        route=web.Route("POST", "/api/v1/api-keys/{key_id}/actions/rotate"),
        docs=web.Docs(tag="keys", summary="Rotate an API key", description=ABOUT),
        inputs=web.Inputs(path={"key_id": ApiKeyId}, body=Rotation, principal=True),
        success=web.Success(NewKeyEnvelope, status=201),
        errors=web.Errors(web.ImageError, [ApiKeyNotFound(), KeyNotRotatable()]),
        needs="keys:manage",
    )
)
def main(rt: Runtime, *, key_id: ApiKeyId, body: Rotation, principal: Principal) -> NewKeyEnvelope:
    return show_new_key(rt.key_management.rotate(key_id, body.expires_in_days, body.overlap_hours, principal))
