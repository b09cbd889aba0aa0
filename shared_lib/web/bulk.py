"""Requests about many images at once: their uuids, and the result for each."""

from collections.abc import Collection, Sequence
from typing import Annotated
from uuid import UUID

from pydantic import Field

from shared_lib.constraints import Bounds
from shared_lib.web.errors import NO_IMAGE
from shared_lib.web.schemas import ApiModel, ImageId

MAX_IMAGES = 100

ImageIds = Annotated[tuple[ImageId, ...], Bounds(min_length=1, max_length=MAX_IMAGES)]


class ImageList(ApiModel):
    uuids: ImageIds


class BulkFailure(ApiModel):
    uuid: ImageId
    error: str = Field(examples=[NO_IMAGE.public])
    code: str = Field(examples=[NO_IMAGE.code])


class BulkResult(ApiModel):
    """Each image is in one of the lists. What failed changes nothing for the others."""

    done: tuple[ImageId, ...]
    failed: tuple[BulkFailure, ...]


def report(uuids: Sequence[UUID], done: Collection[UUID]) -> BulkResult:
    """Say of each image whether it was there, in the order of the request."""
    wanted = tuple(dict.fromkeys(uuids))
    missing = (each for each in wanted if each not in done)
    return BulkResult(
        done=tuple(each for each in wanted if each in done),
        failed=tuple(BulkFailure(uuid=each, error=NO_IMAGE.public, code=NO_IMAGE.code) for each in missing),
    )
