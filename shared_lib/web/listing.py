"""The query of the list of images."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from shared_lib.constraints import Pattern
from shared_lib.domain.images import VISIBLE, ImageStatus
from shared_lib.web.bulk import MAX_IMAGES
from shared_lib.web.paging import PageParameters

_UUID = "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_SHA256 = "[0-9a-fA-F]{64}"
_STATUS = f"({'|'.join(VISIBLE)})"
_UUIDS = f"must be 1 to {MAX_IMAGES} UUIDs, separated by commas"
_DIGESTS = f"must be 1 to {MAX_IMAGES} SHA-256 in hexadecimal, separated by commas"
_STATUSES = f"must be all, or some of {', '.join(VISIBLE)}, separated by commas"


class ImageListQuery(PageParameters):
    sort_by: Literal["createdAt"] = "createdAt"
    status: Annotated[str, Pattern(f"^(all|{_STATUS}(,{_STATUS})*)$", _STATUSES)] = Field(
        ImageStatus.SUCCEEDED.value, description="One or more, separated by commas, or `all`."
    )
    uuids: Annotated[str, Pattern(f"^{_UUID}(,{_UUID}){{0,{MAX_IMAGES - 1}}}$", _UUIDS)] | None = Field(
        None,
        description=f"Up to {MAX_IMAGES}, separated by commas. Of the others, only `include` counts then.",
    )
    sha256: Annotated[str, Pattern(f"^{_SHA256}(,{_SHA256}){{0,{MAX_IMAGES - 1}}}$", _DIGESTS)] | None = Field(
        None,
        description=f"Up to {MAX_IMAGES} SHA-256 of originals in hex, separated by commas: the newest image of each. "
        "Of the others, only `status` and `include` count then.",
    )
    include: Literal["imageData", "none"] = "imageData"

    @property
    def statuses(self) -> tuple[ImageStatus, ...]:
        return VISIBLE if self.status == "all" else tuple(map(ImageStatus, self.status.split(",")))

    @property
    def named(self) -> list[UUID]:
        """The images in `uuids`."""
        return [*map(UUID, self.uuids.split(","))] if self.uuids else []

    @property
    def digests(self) -> list[str]:
        """The checksums in `sha256`, in lower case."""
        return self.sha256.lower().split(",") if self.sha256 else []

    @property
    def has_thumbnails(self) -> bool:
        return self.include == "imageData"
