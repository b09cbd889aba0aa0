"""The API's models for upload URLs. Apart from those for recipes, which take longer to load."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from shared_lib.constraints import Pattern
from shared_lib.domain.timestamps import Time
from shared_lib.domain.uploads import IMAGE_TYPE, UNKNOWN_TYPE, Extension, UploadTerms
from shared_lib.web.schemas import ApiModel, Description, Filename, ImageId

_TYPE = rf"^({IMAGE_TYPE.pattern}|{UNKNOWN_TYPE})$"
_TYPES = f"must be the type of an image, such as image/jpeg, or {UNKNOWN_TYPE}"


class UploadReservation(BaseModel):
    """The file that a client will put into the store. The store then denies any other file."""

    model_config = ConfigDict(alias_generator=to_camel, frozen=True)

    content_type: Annotated[str, Field(max_length=133), Pattern(_TYPE, _TYPES)] | None = Field(
        default=None,
        description="The Content-Type of the PUT.",
        examples=["image/jpeg"],
    )
    size_bytes: int | None = Field(default=None, ge=1, description="The file's size.", examples=[174351])
    sha256: Annotated[str, Pattern("^[0-9a-f]{64}$", "must be 64 hexadecimal digits in lower case")] | None = Field(
        default=None, description="The file's SHA-256 in hexadecimal.", examples=[None]
    )
    extension: Extension = Field(examples=["jpg"])
    filename: Filename | None = Field(default=None, description="Default: the uuid and the extension.")
    description: Description | None = None

    @property
    def terms(self) -> UploadTerms:
        return UploadTerms(content_type=self.content_type, size_bytes=self.size_bytes, sha256=self.sha256)


class UploadUrl(ApiModel):
    uuid: ImageId
    presigned_url: str = Field(
        examples=["http://localhost:9000/upload-images/0b9c0f3e-6e0e-4f3c-8f55-2f0f3f3a9d11?X-Amz-Signature=…"]
    )
    expires_at: Time


class SignedUpload(UploadUrl):
    method: Literal["PUT"] = "PUT"
    headers: dict[str, str] = Field(
        description="Headers that the PUT must carry, unchanged.", examples=[{"Content-Type": "image/jpeg"}]
    )
