"""API keys as the API shows them."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from shared_lib.constraints import Bounds, Pattern, drop_decimal_point
from shared_lib.domain import api_keys as domain
from shared_lib.domain.api_keys import DEFAULT_DAYS, ID_PATTERN, MAX_DAYS, MAX_OVERLAP_HOURS, OVERLAP_HOURS
from shared_lib.domain.principals import ALL_PERMISSIONS, Permission, Role
from shared_lib.domain.timestamps import Time
from shared_lib.services.key_management import IssuedKey
from shared_lib.web.schemas import ApiModel, CollectionName

# The page at /api-docs/ replaces it with the newest key's.
ApiKeyId = Annotated[str, Pattern(ID_PATTERN, "must be the ID of an API key"), Field(examples=["4tR9kQ2mZx"])]
ExpiresInDays = Annotated[
    int, Field(ge=1, le=MAX_DAYS, strict=True, examples=[DEFAULT_DAYS]), BeforeValidator(drop_decimal_point)
]
OverlapHours = Annotated[
    int, Field(ge=0, le=MAX_OVERLAP_HOURS, strict=True, examples=[OVERLAP_HOURS]), BeforeValidator(drop_decimal_point)
]


class ApiKey(ApiModel):
    """An API key without its secret, of which only a digest is stored."""

    id: ApiKeyId
    name: str = Field(examples=["nightly import"])
    role: Role = Field(examples=[Role.EDITOR])
    scopes: tuple[Permission, ...] | None = Field(
        description="What it is limited to. Null: all that its role may.", examples=[["images:read", "images:write"]]
    )
    created_at: Time
    created_by: str = Field(description="The caller who made it.", examples=["key:0Zk3TmWq7b"])
    expires_at: Time
    last_used_at: Time | None = Field(description="To the hour.", examples=[None])
    revoked_at: Time | None = Field(examples=[None])
    replaced_by: str | None = Field(description="The key that a rotation made for it.", examples=[None])


class KeyOrder(ApiModel):
    name: Annotated[CollectionName, Field(examples=["nightly import"])]
    role: Annotated[Role, Field(examples=[Role.EDITOR])]
    scopes: Annotated[tuple[Permission, ...], Bounds(min_length=1, max_length=len(ALL_PERMISSIONS))] | None = Field(
        default=None, description="A part of what the role may. Absent: all of it."
    )
    expires_in_days: ExpiresInDays = DEFAULT_DAYS

    @property
    def grant(self) -> domain.KeyGrant:
        return domain.KeyGrant(name=self.name, role=self.role, scopes=self.scopes, days=self.expires_in_days)


class NewKey(ApiKey):
    key: str = Field(
        description="The whole key, for the header X-API-Key. It is shown this once.",
        examples=["imgp_4tR9kQ2mZx_………_……"],
    )


class NewKeyEnvelope(ApiModel):
    data: NewKey


class ApiKeyList(ApiModel):
    data: tuple[ApiKey, ...]


def show_key(key: domain.ApiKey) -> ApiKey:
    return ApiKey(**vars(key))


def show_new_key(issued: IssuedKey) -> NewKeyEnvelope:
    return NewKeyEnvelope(data=NewKey(**vars(issued.key), key=issued.text))
