"""Collections as the API shows them, alone and in lists."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from shared_lib.constraints import Bounds
from shared_lib.domain import images as domain
from shared_lib.domain.timestamps import Time
from shared_lib.web.paging import PageParameters, Pagination
from shared_lib.web.schemas import ApiModel, CollectionId, Image, ImageId


class Collection(ApiModel):
    """The collection object of the HTTP contract."""

    uuid: CollectionId
    name: str = Field(examples=["Holidays"])
    description: str | None = Field(examples=["The summer of 2026"])
    created_at: Time
    updated_at: Time
    image_count: int = Field(examples=[12])


class CollectionEnvelope(ApiModel):
    data: Collection


class CollectionListQuery(PageParameters):
    sort_by: Literal["createdAt", "updatedAt"] = "createdAt"


class CollectionListMeta(ApiModel):
    pagination: Pagination


class CollectionList(ApiModel):
    data: list[Collection]
    meta: CollectionListMeta


class CollectionPageQuery(PageParameters):
    sort_by: Literal["createdAt", "filename", "status"] = "createdAt"


class CollectionWithImages(Collection):
    images: list[Image]
    pagination: Pagination


class CollectionPage(ApiModel):
    data: CollectionWithImages


class ImageReference(ApiModel):
    type: Literal["images"]
    uuid: ImageId


class ImageReferences(ApiModel):
    """Images by reference, in the manner of JSON:API."""

    data: Annotated[tuple[ImageReference, ...], Bounds(min_length=1, max_length=100)]

    @property
    def uuids(self) -> list[UUID]:
        return [each.uuid for each in self.data]


def show_collection(collection: domain.Collection) -> Collection:
    return Collection.model_validate(collection, from_attributes=True)
