"""What clients bring: the names and types that they may announce, what they may order, what lies in the inbox: pure."""

import base64
import re
from datetime import datetime
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self, get_args
from uuid import NAMESPACE_URL, UUID, uuid5

from pydantic import BaseModel, ConfigDict, Field, Json, WithJsonSchema, model_validator
from pydantic.alias_generators import to_camel

from shared_lib.domain.images import CONTROL, MAX_FILENAME, Description, Filename, ImageId, Time, View
from shared_lib.errors import Invalid, Unsupported
from shared_lib.pipeline.formats import Format, describe_missing_codec, has_codec
from shared_lib.pipeline.recipe import PRESETS
from shared_lib.pipeline.recipe_schema import Recipes

Extension = Literal[
    "jpg", "jpeg", "png", "gif", "webp", "svg", "avif", "tiff", "tif", "jfif", "bmp", "heic", "heif", "jxl"
]
EXTENSIONS: tuple[str, ...] = get_args(Extension)
"""The file types that a caller may announce. What the bytes are is for the pipeline to find out."""

_MAY_LACK_CODEC = {"heic": Format.HEIC, "heif": Format.HEIC, "jxl": Format.JXL}

PROBES = "probes-of-the-store/"
"""Where bootstrap tries what the store refuses. What lies there becomes no image."""

UNKNOWN_TYPE = "application/octet-stream"
"""What clients send for a type that they do not know, as curl does for WebP."""

# As Swagger UI would draw a field with a media type of its own, it would be a file.
_RECIPES_AS_TEXT = {
    "type": "string",
    "examples": [""],
    "description": "As JSON: an array of Recipe. It or `preset`, not both.",
}

_IMAGE_TYPE = re.compile(r"image/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}")  # RFC 6838, in lower case


PresetName = Annotated[str, Field(max_length=64, description=f"{', '.join(PRESETS)}, or one of the operator's own.")]


class RenditionOrder(BaseModel):
    """What to make of an image besides its thumbnail: by recipes, or by a preset's name."""

    model_config = ConfigDict(
        json_schema_extra={
            "not": {
                "required": ["renditions", "preset"],
                "properties": {"renditions": {"not": {"type": "null"}}, "preset": {"not": {"type": "null"}}},
            }
        }
    )

    renditions: Recipes | None = Field(
        default=None,
        description="At most 20 at once, and 100 of an image. One that is there already is not made again.",
        examples=[
            [
                {
                    "name": "hero",
                    "operations": [{"kind": "resize", "width": 1200, "height": 630, "gravity": "smart"}],
                    "output": {"format": "webp", "quality": 75},
                }
            ]
        ],
    )
    preset: PresetName | None = None

    @model_validator(mode="after")
    def _asks_in_one_way(self) -> Self:
        if self.renditions is not None and self.preset is not None:
            raise ValueError("give renditions or a preset, not both")
        return self


class UploadForm(RenditionOrder):
    model_config = ConfigDict(json_schema_extra={})  # what excludes what is for the fields' descriptions to say
    description: Description = ""
    renditions: Annotated[Json[Recipes] | None, WithJsonSchema(_RECIPES_AS_TEXT)] = None
    preset: Annotated[PresetName | None, Field(examples=["web"])] = None


class UploadTerms(BaseModel):
    """What a client tells of a file that it is about to put into the store. The store then refuses any other."""

    model_config = ConfigDict(alias_generator=to_camel, frozen=True)

    content_type: str | None = Field(
        default=None,
        max_length=133,
        pattern=rf"^({_IMAGE_TYPE.pattern}|{UNKNOWN_TYPE})$",
        description="Of the PUT to come.",
        examples=["image/jpeg"],
    )
    size_bytes: int | None = Field(default=None, ge=1, description="Of the file.", examples=[174351])
    sha256: str | None = Field(
        default=None, pattern=r"^[0-9a-f]{64}$", description="Of the file, in hexadecimal.", examples=[None]
    )

    @property
    def checksum(self) -> str | None:
        """The SHA-256 as S3 writes it."""
        return base64.b64encode(bytes.fromhex(self.sha256)).decode() if self.sha256 else None

    @property
    def headers(self) -> dict[str, str]:
        """What the PUT has to say of itself, besides its length."""
        headers = {"Content-Type": self.content_type, "x-amz-checksum-sha256": self.checksum}
        return {name: value for name, value in headers.items() if value}


class UploadReservation(UploadTerms):
    extension: Extension = Field(examples=["jpg"])
    filename: Filename | None = Field(default=None, description="Without one, the uuid and the extension.")
    description: Description | None = None


class UploadUrl(View):
    uuid: ImageId
    presigned_url: str = Field(
        examples=["http://localhost:9000/upload-images/0b9c0f3e-6e0e-4f3c-8f55-2f0f3f3a9d11?X-Amz-Signature=…"]
    )
    expires_at: Time


class SignedUpload(UploadUrl):
    method: Literal["PUT"] = "PUT"
    headers: dict[str, str] = Field(
        description="To be sent with the file, as they are.", examples=[{"Content-Type": "image/jpeg"}]
    )


class StoredObject(BaseModel, frozen=True):
    """An object that lies in the inbox, as the store describes it."""

    key: str
    size: int = Field(description="bytes")
    etag: str
    modified: datetime

    @staticmethod
    def name_image(key: str) -> UUID | None:
        """The image that a key names, when it is one of the service's own: a lower-case uuid and nothing else."""
        try:
            uuid = UUID(key)
        except ValueError:
            return None
        return uuid if str(uuid) == key else None

    @property
    def named_image(self) -> UUID | None:
        return self.name_image(self.key)

    @property
    def image(self) -> UUID:
        """The image this object becomes. A stranger's object gets the same one however often it is seen."""
        identity = f"{self.key}\n{self.etag}\n{int(self.modified.timestamp())}"
        return self.named_image or uuid5(NAMESPACE_URL, identity)

    @property
    def filename(self) -> str:
        """The key's last part, made fit to be a filename."""
        return CONTROL.sub("_", PurePosixPath(self.key).name)[:MAX_FILENAME] or self.key[:MAX_FILENAME]


def check_upload(filename: str, content_type: str, size: int) -> None:
    """The contract's rules for a direct upload, besides its size. Raises Invalid or Unsupported in its words."""
    if size == 0:
        raise Invalid("File is empty", code="empty_file")
    if len(filename) > MAX_FILENAME:
        raise Unsupported(f"Filename is too long (max {MAX_FILENAME} characters)", code="filename_too_long")
    extension = filename.rpartition(".")[2].lower() if "." in filename else ""
    if extension not in EXTENSIONS:
        allowed = ", ".join(f".{each}" for each in EXTENSIONS)
        ending = f"ends in .{extension}" if extension else "has no extension"
        raise Unsupported(
            f"Only these file types are allowed: {allowed}",
            code="extension_not_allowed",
            details=_about_file(f"The filename {ending}. If it is one of these types, name it so"),
        )
    if complaint := find_missing_codec(extension):
        raise Unsupported(complaint, code="codec_missing")
    if content_type != UNKNOWN_TYPE and not _IMAGE_TYPE.fullmatch(content_type):
        raise Unsupported(
            "Only image files are allowed",
            code="not_an_image",
            details=_about_file(
                f"The file's Content-Type is {content_type!r}. If it is an image, send its own type (with curl: "
                f"-F 'file=@photo.webp;type=image/webp'), or {UNKNOWN_TYPE}, or none"
            ),
        )
    if CONTROL.search(filename):
        raise Invalid("filename: must not contain control characters")


def find_missing_codec(extension: str) -> str | None:
    """Why this deployment does not take files of that name, if it does not."""
    form = _MAY_LACK_CODEC.get(extension)
    return None if form is None or has_codec(form) else describe_missing_codec(form)


def _about_file(message: str) -> list[dict[str, Any]]:
    return [{"parameter": "file", "message": message}]
