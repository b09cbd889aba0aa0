"""Create an API key."""

from typing import Annotated

import functions_framework
from pydantic import Field

from shared_lib import web
from shared_lib.domain.api_keys import DEFAULT_DAYS, KeyGrant
from shared_lib.domain.principals import Permission, Principal, Role
from shared_lib.runtime import Runtime
from shared_lib.web.api_keys import ExpiresInDays, NewKeyEnvelope, show_new_key
from shared_lib.web.schemas import ApiModel, CollectionName

ABOUT = (
    """The response has the whole key, which is not shown again. A key may do no more than the caller who makes it."""
)


class KeyOrder(ApiModel):
    name: Annotated[CollectionName, Field(examples=["nightly import"])]
    role: Annotated[Role, Field(examples=[Role.EDITOR])]
    scopes: Annotated[tuple[Permission, ...], Field(min_length=1)] | None = Field(
        default=None, description="A part of what the role may. Absent: all of it."
    )
    expires_in_days: ExpiresInDays = DEFAULT_DAYS


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
    grant = KeyGrant(name=body.name, role=body.role, scopes=body.scopes, days=body.expires_in_days)
    return show_new_key(rt.key_management.create(grant, principal))
