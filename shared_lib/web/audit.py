"""The audit log as the API shows it."""

import json
from typing import Annotated, Any

from pydantic import Field

from shared_lib.constraints import Pattern
from shared_lib.domain import audit as domain
from shared_lib.domain.timestamps import Time
from shared_lib.web.schemas import ApiModel

ActionName = Annotated[str, Pattern("^[a-z_]{1,40}$", "must be an action, such as image_deleted")]
AuditEventId = Annotated[
    str, Pattern("^[0-9]{1,18}$", "must be the ID of an event, a number"), Field(examples=["4711"])
]


class AuditEvent(ApiModel):
    id: AuditEventId
    recorded_at: Time
    principal: str = Field(
        description="Who: `key:…`, an issuer and its subject, `operator` (a command), or `service`.",
        examples=["key:4tR9kQ2mZx"],
    )
    address: str = Field(description="Where the request came from. Empty for commands.", examples=["192.0.2.1"])
    request_id: str = Field(examples=["0b9c0f3e-6e0e-4f3c-8f55-2f0f3f3a9d11"])
    action: domain.Action = Field(examples=[domain.Action.IMAGE_DELETED])
    subject: str = Field(
        description="What it was done to. For `access_denied` the operation that was called.",
        examples=["3f8a2f8e-9a44-4f26-8ac8-4fca0ea5bdbf"],
    )
    details: dict[str, Any] = Field(examples=[{}])


class AuditEventList(ApiModel):
    data: tuple[AuditEvent, ...]
    next: AuditEventId | None = Field(description="The next page's `after`. Null on the last page.", examples=["4690"])


def show_event(event: domain.AuditEvent) -> AuditEvent:
    return AuditEvent(
        id=f"{event.id}",
        recorded_at=event.recorded_at,
        principal=event.principal,
        address=event.address,
        request_id=event.request_id,
        action=domain.Action(event.action),
        subject=event.subject,
        details=json.loads(event.details),
    )
