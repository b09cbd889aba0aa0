"""The API's models for uploads in parts."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator
from pydantic.alias_generators import to_camel

from shared_lib.constraints import Bounds, drop_decimal_point
from shared_lib.domain.images import ImageStatus
from shared_lib.domain.multipart import MultipartUpload
from shared_lib.domain.timestamps import Time
from shared_lib.domain.uploads import Extension
from shared_lib.services.multipart import Progress
from shared_lib.web.schemas import ApiModel, Description, Filename, ImageId

FileSize = Annotated[
    int,
    Field(ge=1, strict=True, description="The file's exact size.", examples=[41943040]),
    BeforeValidator(drop_decimal_point),
]
PartNumber = Annotated[int, Field(ge=1, strict=True, examples=[1]), BeforeValidator(drop_decimal_point)]


class LargeFile(BaseModel):
    """A file that a client will upload in parts."""

    model_config = ConfigDict(alias_generator=to_camel, frozen=True)

    size_bytes: FileSize
    extension: Extension = Field(examples=["jpg"])
    filename: Filename | None = Field(default=None, description="Default: the uuid and the extension.")
    description: Description | None = None


class PartsToSign(BaseModel):
    """The parts that a client will upload next."""

    model_config = ConfigDict(alias_generator=to_camel, frozen=True)

    part_numbers: Annotated[tuple[PartNumber, ...], Bounds(min_length=1, max_length=100)] = Field(
        json_schema_extra={"uniqueItems": True}, examples=[[1]]
    )

    @field_validator("part_numbers")
    @classmethod
    def _are_different(cls, numbers: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(numbers)) < len(numbers):
            raise ValueError("must name each part once")
        return numbers


class MultipartUploadPlan(ApiModel):
    """Division of the file: each part has `partSizeBytes`, and the last one what remains."""

    uuid: ImageId
    size_bytes: int = Field(examples=[41943040])
    part_size_bytes: int = Field(examples=[8388608])
    part_count: int = Field(examples=[5])
    expires_at: Time = Field(description="Complete the upload before that.")


class SignedPart(ApiModel):
    part_number: PartNumber
    size_bytes: int = Field(description="The PUT has to have exactly so many bytes.", examples=[8388608])
    presigned_url: str = Field(
        examples=["http://localhost:9000/upload-images/0b9c0f3e-…?partNumber=1&uploadId=…&X-Amz-Signature=…"]
    )


class SignedParts(ApiModel):
    method: Literal["PUT"] = "PUT"
    parts: tuple[SignedPart, ...]
    expires_at: Time = Field(description="Of the URLs. Ask for new ones at any time.")


class UploadedPart(ApiModel):
    part_number: PartNumber
    size_bytes: int = Field(examples=[8388608])
    etag: str = Field(
        description="As the store returned it for the PUT, without its quotes.",
        examples=["d76f89e449720d99d4b92c79040f4882"],
    )


class MultipartUploadProgress(MultipartUploadPlan):
    """Parts of an upload that the store has. A client that was interrupted goes on with `missingParts`."""

    uploaded_parts: tuple[UploadedPart, ...]
    missing_parts: tuple[PartNumber, ...] = Field(examples=[[2, 3, 4, 5]])


class CompletedUpload(ApiModel):
    uuid: ImageId
    status: ImageStatus = Field(examples=[ImageStatus.PENDING])


def show_plan(upload: MultipartUpload) -> MultipartUploadPlan:
    return MultipartUploadPlan(**_describe(upload))


def show_progress(progress: Progress) -> MultipartUploadProgress:
    parts = [
        UploadedPart(part_number=each.number, size_bytes=each.size, etag=each.etag.strip('"'))
        for each in progress.parts
    ]
    return MultipartUploadProgress(
        **_describe(progress.upload), uploaded_parts=tuple(parts), missing_parts=tuple(progress.missing)
    )


def _describe(upload: MultipartUpload) -> dict[str, object]:
    return {
        "uuid": upload.uuid,
        "size_bytes": upload.size,
        "part_size_bytes": upload.part_size,
        "part_count": upload.part_count,
        "expires_at": upload.expires_at,
    }
