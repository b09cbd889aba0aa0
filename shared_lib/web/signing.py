"""An order for a signed URL or a token, and what the caller gets."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from shared_lib.constraints import Bounds
from shared_lib.delivery.capabilities import Capability, Extension, Name, Width
from shared_lib.delivery.signatures import choose_issue_time
from shared_lib.domain.timestamps import Time
from shared_lib.errors import Invalid
from shared_lib.repositories.deliveries import PublishedImage
from shared_lib.runtime import Runtime
from shared_lib.web.schemas import ApiModel

_NOT_NULL: JsonDict = {"not": {"type": "null"}}


class CapabilityOrder(ApiModel):
    """Rights of a token's holder: these presets and widths, and nothing else."""

    covers: Literal["image", "collection"] = "image"
    prefix: Annotated[str, Field(min_length=1, max_length=255)] | None = Field(
        default=None,
        description="All images whose filename begins so, in place of this one or within its collection.",
    )
    presets: Annotated[tuple[Name, ...], Bounds(max_length=64)] = ()
    widths: Annotated[tuple[Width, ...], Bounds(max_length=64), Field(description="px, dpr included")] = ()
    formats: Annotated[tuple[Extension, ...], Bounds(max_length=64), Field(description="None: any.")] = ()


class UrlOrder(ApiModel):
    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": [name], "properties": {name: _NOT_NULL, other: {"type": "null"}}}
                for name, other in (("options", "capability"), ("capability", "options"))
            ]
        }
    )

    options: Annotated[str, Field(min_length=1, max_length=512, examples=["w=320,h=240,fit=cover"])] | None = Field(
        default=None, description="For the URL of one rendition."
    )
    capability: CapabilityOrder | None = Field(default=None, description="For a token, whose holder writes URLs.")
    format: Annotated[Extension, Field(examples=["auto"])] | None = None
    expires_in: Annotated[int, Field(ge=1, le=31_536_000)] | None = Field(
        default=None,
        description="Seconds, at most as many as the operator allows: a year by default. Absent: so many.",
    )

    @model_validator(mode="after")
    def _has_one_of_both(self) -> Self:
        if (self.options is None) is (self.capability is None):
            raise ValueError("give either options or a capability")
        return self


class SignedUrl(ApiModel):
    url: Annotated[str, Field(examples=["https://images.example.com/i/k1.c2lnbmF0dXJl/w=320/0b9c0f3e.auto"])]
    token: str | None = Field(
        description="Takes the place of a signature in the URLs that it allows. `url` is one of them.", examples=[None]
    )
    expires_at: Time | None


def sign(rt: Runtime, image: PublishedImage, order: UrlOrder) -> SignedUrl:
    """Raises Invalid or NotFound if the URL would deliver nothing, and Forbidden without a key."""
    expires_at = _choose_end(rt, image, order.expires_in)
    form = order.format
    if order.capability and form is None and order.capability.formats:
        form = order.capability.formats[0]
    file = f"{image.uuid}.{form}" if form else f"{image.uuid}"
    base = rt.settings.http.public_base_url or ""
    if order.capability is None:
        path = rt.delivery.sign(image, order.options or "", file, expires_at)
        return SignedUrl(url=f"{base}{path}", token=None, expires_at=expires_at)
    capability = _to_capability(image, order.capability, expires_at)
    options = capability.presets[0] if capability.presets else f"w={capability.widths[0]}"
    path = rt.delivery.issue_token(image, capability, options, file)
    return SignedUrl(url=f"{base}{path}", token=path.split("/")[2], expires_at=expires_at)


def _choose_end(rt: Runtime, image: PublishedImage, expires_in: int | None) -> datetime | None:
    """Return when the URL ends, or None if it needs no signature and may be good for ever. Raises Invalid."""
    most = rt.settings.delivery.max_lifetime_seconds
    if expires_in is not None:
        if expires_in > most:
            raise Invalid(f"expiresIn: at most {most:,} seconds, as DELIVERY_MAX_LIFETIME_SECONDS says")
        return datetime.now(UTC) + timedelta(seconds=expires_in)
    if not rt.delivery.keys.are_needed:
        return None
    return datetime.fromtimestamp(choose_issue_time(image.links_since), UTC) + timedelta(seconds=most)


def _to_capability(image: PublishedImage, order: CapabilityOrder, expires_at: datetime | None) -> Capability:
    if not order.presets and not order.widths:
        raise Invalid("capability: name presets or widths")
    if order.prefix and not image.filename.startswith(order.prefix):
        raise Invalid("capability.prefix: the image's filename doesn't begin with it")
    in_collection = order.covers == "collection"
    if in_collection and image.collection_id is None:
        raise Invalid("capability.covers: the image is in no collection")
    return Capability(
        image=None if in_collection or order.prefix else image.uuid,
        collection=image.collection_id if in_collection else None,
        prefix=order.prefix,
        tenant=image.tenant,
        presets=order.presets,
        widths=order.widths,
        formats=order.formats,
        exp=int(expires_at.timestamp()) if expires_at else None,
    )
