"""Uploads: the names and types that clients may announce, and objects in the inbox. Nothing here does I/O."""

import base64
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Annotated, Any
from uuid import NAMESPACE_URL, UUID, uuid5

from shared_lib.constraints import DEFAULT_TENANT, OneOf, Respell
from shared_lib.domain.images import CONTROL, MAX_FILENAME
from shared_lib.errors import Invalid, NotFound, TooLarge, Unsupported
from shared_lib.pipeline.formats import BY_EXTENSION, BY_TYPE, describe_missing_codec, has_codec, read_extension

Extension = Annotated[str, OneOf(*BY_EXTENSION), Respell(read_extension)]
"""The file types that a caller may announce. The pipeline detects the real type from the bytes."""

PROBES = "probes-of-the-store/"
"""Prefix of the objects by which bootstrap tries what the store denies. They never become images."""

UNKNOWN_TYPE = "application/octet-stream"
"""The type that clients send if they do not know a better one, as curl does for WebP."""

IMAGE_TYPE = re.compile(r"image/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}")
"""A media type of an image (RFC 6838), in lower case."""


_ENDS_OTHERWISE = (
    "The filename ends in .{}. If the file is an image of one of these types, send it with a filename that says so "
    "(with curl: -F 'file=@photo.dat;filename=photo.jpg')"
)
_HAS_NO_ENDING = (
    "The filename has no extension. Send one, or the image's Content-Type (with curl: -F 'file=@photo;type=image/jpeg')"
)


def compose_prefix(tenant: str) -> str:
    """Return what the keys of a tenant's objects begin with, in both buckets. Those of the default tenant have none."""
    return "" if tenant == DEFAULT_TENANT else f"t/{tenant}/"


def split_key(key: str) -> tuple[str, str]:
    """Return whose object a key names, and the key without its tenant."""
    first, _, rest = key.partition("/")
    if first != "t":
        return DEFAULT_TENANT, key
    tenant, _, rest = rest.partition("/")
    return tenant, rest


def compose_upload_key(tenant: str, uuid: UUID) -> str:
    """Return where in the inbox the upload of a tenant's image is."""
    return f"{compose_prefix(tenant)}{uuid}"


def read_uuid(text: str) -> UUID | None:
    """Return the image that a part of a key names: by a lower-case uuid and nothing else."""
    try:
        uuid = UUID(text)
    except ValueError:
        return None
    return uuid if str(uuid) == text else None


def read_upload_key(key: str) -> UUID | None:
    """Return the image that a key in the inbox names, or None if a client chose the key."""
    tenant, rest = split_key(key)
    uuid = read_uuid(rest)
    return uuid if uuid and compose_upload_key(tenant, uuid) == key else None


class FileTooLarge(TooLarge):
    code = "file_too_large"

    def __init__(self, most: int) -> None:
        """`most` is in bytes."""
        super().__init__(f"The file may have at most {most:,} bytes")


class SizeMissing(Invalid):
    public = "sizeBytes: give the file's exact size in bytes"
    code = "size_missing"

    def __init__(self) -> None:
        super().__init__(details=[{"parameter": "sizeBytes", "message": "give the file's exact size in bytes"}])


class UploadMissing(NotFound):
    public = "Image not found in storage, please upload before process"
    code = "image_not_in_storage"


class NoFile(Invalid):
    public = "No file uploaded"
    code = "no_file"


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadTerms:
    """The properties a client announced of a file that it will upload. The store then denies any other file."""

    content_type: str | None = None
    size_bytes: int | None = None
    sha256: str | None = None
    """In hexadecimal."""

    @property
    def checksum(self) -> str | None:
        """The SHA-256 as S3 writes it, in Base64."""
        return base64.b64encode(bytes.fromhex(self.sha256)).decode() if self.sha256 else None

    @property
    def headers(self) -> dict[str, str]:
        """Headers that the PUT must carry besides its length."""
        headers = {
            "Content-Type": self.content_type,
            "x-amz-checksum-sha256": self.checksum,
            "If-None-Match": "*" if self.size_bytes else None,  # a known file comes once
        }
        return {name: value for name, value in headers.items() if value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """An original, as its image's row names it."""

    key: str
    """In the gallery."""
    content_type: str
    """The real one, detected from its bytes."""
    sha256: str
    """In hexadecimal."""
    size: int
    """bytes"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """An object in a bucket, as the store describes it."""

    key: str
    size: int
    """bytes"""
    etag: str
    modified: datetime

    @property
    def tenant(self) -> str:
        """Whose object it is, as its key says. There may be no such tenant."""
        return split_key(self.key)[0]

    @property
    def named_image(self) -> UUID | None:
        return read_upload_key(self.key)

    @property
    def image(self) -> UUID:
        """The image that this object becomes. A foreign object gets the same uuid however often it is seen."""
        identity = f"{self.key}\n{self.etag}\n{int(self.modified.timestamp())}"
        return self.named_image or uuid5(NAMESPACE_URL, identity)

    @property
    def filename(self) -> str:
        """The key's last part as a valid filename."""
        return CONTROL.sub("_", PurePosixPath(self.key).name)[:MAX_FILENAME] or self.key[:MAX_FILENAME]


def check_upload(filename: str, content_type: str, size: int) -> None:
    """Check a direct upload by the contract's rules, except for its maximum size. Raises Invalid or Unsupported."""
    if size == 0:
        raise Invalid("File is empty", code="empty_file")
    if len(filename) > MAX_FILENAME:
        raise Unsupported(f"Filename is too long (max {MAX_FILENAME} characters)", code="filename_too_long")
    extension = read_extension(filename.rpartition(".")[2]) if "." in filename else ""
    form = BY_EXTENSION.get(extension) if extension else BY_TYPE.get(content_type.lower())
    if form is None:
        allowed = ", ".join(f".{each}" for each in BY_EXTENSION)
        raise Unsupported(
            f"Only these file types are allowed: {allowed}",
            code="extension_not_allowed",
            details=_about_file(_ENDS_OTHERWISE.format(extension) if extension else _HAS_NO_ENDING),
        )
    if not has_codec(form):
        raise Unsupported(describe_missing_codec(form), code="codec_missing")
    if content_type != UNKNOWN_TYPE and not IMAGE_TYPE.fullmatch(content_type):
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


def check_codec(extension: str) -> None:
    """Raise Invalid if this deployment lacks the codec for files with that extension."""
    form = BY_EXTENSION[extension]
    if not has_codec(form):
        message = describe_missing_codec(form)
        raise Invalid(message, code="codec_missing", details=[{"parameter": "extension", "message": message}])


def _about_file(message: str) -> list[dict[str, Any]]:
    return [{"parameter": "file", "message": message}]
