"""Tokens whose holders write URLs themselves: of the images, and in the presets, widths and formats, that they name."""

from datetime import UTC, datetime
from typing import Annotated, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shared_lib.constraints import DEFAULT_TENANT, NAME_PATTERN, Bounds, Pattern, Respell
from shared_lib.delivery.order import LATEST
from shared_lib.errors import Forbidden
from shared_lib.limits import MAX_SIDE
from shared_lib.pipeline.formats import choose_extension
from shared_lib.repositories.deliveries import PublishedImage

_MOST = 64  # of each list. A token is part of every URL.

Name = Annotated[str, NAME_PATTERN]
Extension = Annotated[
    str, Pattern(r"^[a-z]{3,4}$", "must be auto, or a format such as webp"), Respell(choose_extension)
]
Width = Annotated[int, Field(ge=1, le=MAX_SIDE)]


class Capability(BaseModel):
    """A token's JSON: all that it allows. Of `image`, `collection` and `prefix`, all that are given must hold."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image: UUID | None = None
    collection: UUID | None = None
    prefix: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    """Of filenames."""
    tenant: str = DEFAULT_TENANT
    """Whose images `prefix` is about."""
    presets: Annotated[tuple[Name, ...], Bounds(max_length=_MOST)] = ()
    widths: Annotated[tuple[Width, ...], Bounds(max_length=_MOST)] = ()
    """px, dpr included"""
    formats: Annotated[tuple[Extension, ...], Bounds(max_length=_MOST)] = ()
    """Extensions of URLs. Empty: any."""
    exp: Annotated[int, Field(ge=1, le=LATEST)] | None = None
    """Unix time, s"""

    @model_validator(mode="after")
    def _names_images_and_sizes(self) -> Self:
        if self.image is None and self.collection is None and self.prefix is None:
            raise ValueError("it names an image, a collection, or a prefix")
        if not self.presets and not self.widths:
            raise ValueError("it names presets or widths")
        return self

    def check(self, image: UUID, size: str | int | None, extension: str, others: set[str]) -> None:
        """Check a URL before the image is looked for. `size` is a preset's name or a width, `others` are more options.

        Raises Forbidden.
        """
        if self.exp is not None and self.exp <= datetime.now(UTC).timestamp():
            raise Forbidden("The token has expired", code="url_expired")
        if self.image not in (None, image):
            raise _not_covered("this image")
        if size not in (*self.presets, *self.widths):
            raise _not_covered(f"{size}, only {', '.join(map(str, (*self.presets, *self.widths)))}")
        if self.formats and extension not in self.formats:
            raise _not_covered(f"the format {extension or 'of the original'}, only {', '.join(self.formats)}")
        if others:
            raise _not_covered(f"the option {min(others)}")

    def covers(self, image: PublishedImage) -> bool:
        """Return whether the token is about this image. Needs nothing but the image's row."""
        return (
            self.image in (None, image.uuid)
            and self.collection in (None, image.collection_id)
            and (self.prefix is None or (self.tenant == image.tenant and image.filename.startswith(self.prefix)))
        )


def read_capability(text: bytes) -> Capability:
    """Read the JSON of a token whose signature was verified. Raises Forbidden."""
    try:
        return Capability.model_validate_json(text)
    except ValidationError as error:
        place = ".".join(map(str, error.errors()[0]["loc"])) or "it"
        raise Forbidden(f"The token's JSON is not valid: {place}", code="token_invalid") from error


def _not_covered(what: str) -> Forbidden:
    return Forbidden(f"The token doesn't allow {what}", code="not_covered")
