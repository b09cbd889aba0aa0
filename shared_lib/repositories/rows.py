"""Columns that are read of images and collections, and the records made of them."""

from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from shared_lib.domain.images import (
    Collection,
    FailedRendition,
    Failure,
    Image,
    ImageEnd,
    ImageNotFound,
    ImageStatus,
    Rendition,
    Thumbnail,
)
from shared_lib.errors import FailureCode, NotFound
from shared_lib.observability import get_logger
from shared_lib.pipeline.metadata.model import ImageMetadata, StoredMetadata
from shared_lib.validation import adapt

log = get_logger()

_PENDING_SECONDS = 2  # about as long as it takes to process an image

# An image of another tenant, a deleted one, or one that awaits its upload, does not exist for callers.
VISIBLE_IMAGE = "i.tenant_id = :tenant AND i.deleted_at IS NULL AND i.status <> 'awaiting_upload'"

LOCK_IMAGE = "SELECT status FROM images WHERE tenant_id = :tenant AND uuid = :uuid AND deleted_at IS NULL FOR UPDATE"

OF_TENANT = "(CAST(:tenant AS text) IS NULL OR tenant_id = :tenant)"
"""The condition of statements that functions of the API use and the worker too, which acts for all tenants."""

UNFINISHED_IMAGE = """
    i.deleted_at IS NULL AND i.status <> 'awaiting_upload' AND (i.due_at IS NOT NULL OR i.lease_until IS NOT NULL)
"""
"""The images that an index has by tenant, those in progress first, and then by when they are due."""

RENDITIONS = """
    (SELECT json_agg(json_build_object('name', r.name, 'content_type', r.content_type, 'width', r.width,
                                       'height', r.height, 'size_bytes', r.size_bytes) ORDER BY r.name)
       FROM renditions r WHERE r.image_id = i.uuid) AS renditions
"""
IMAGE_COLUMNS = f"""
    i.uuid, i.filename, i.description, i.status, i.created_at, i.completed_at, i.collection_id,
    i.content_type, i.size_bytes, i.sha256, i.metadata, i.width, i.height,
    i.failure_code, i.failure_message, i.attempts,
    {RENDITIONS},
    (SELECT json_agg(json_build_object('name', q.name, 'code', q.failure_code, 'message', q.failure_message)
                     ORDER BY q.name)
       FROM rendition_requests q WHERE q.image_id = i.uuid) AS requests
"""
END_COLUMNS = """
    uuid, tenant_id, filename, content_type, size_bytes, width, height, failure_code, failure_message, completed_at,
    attempts, traceparent
"""
THUMBNAIL_COLUMNS = ", i.thumbnail, i.thumbnail_type"

COLLECTION_COLUMNS = """
    c.uuid, c.name, c.description, c.created_at, c.updated_at,
    (SELECT CAST(coalesce(sum(n.change), 0) AS bigint) FROM image_counts n
      WHERE n.tenant_id = c.tenant_id AND n.collection_id = c.uuid) AS image_count
"""


def to_image(row: dict[str, Any]) -> Image:
    thumbnail, requests = row.get("thumbnail"), row["requests"] or ()
    return Image(
        uuid=row["uuid"],
        filename=row["filename"],
        description=row["description"],
        status=ImageStatus(row["status"]),
        created_at=row["created_at"],
        completed_at=row["completed_at"],
        collection_id=row["collection_id"],
        content_type=row["content_type"],
        size_bytes=row["size_bytes"],
        width=row["width"],
        height=row["height"],
        sha256=row["sha256"],
        metadata=_to_metadata(row["metadata"]),
        renditions=tuple(Rendition(**each) for each in row["renditions"] or ()),
        pending_renditions=tuple(each["name"] for each in requests if not each["code"]),
        failed_renditions=tuple(
            FailedRendition(each["name"], Failure(FailureCode.read(each["code"]), each["message"]))
            for each in requests
            if each["code"]
        ),
        failure=_read_failure(row),
        attempts=row["attempts"],
        thumbnail=Thumbnail(row["thumbnail_type"], thumbnail) if thumbnail else None,
    )


def require_published(row: dict[str, Any] | None) -> dict[str, Any]:
    """Return a row without its `status`, if the image has succeeded. Nothing of any other image is served.

    Raises NotFound, with a code of its own while the image is being processed, and for one that failed.
    """
    if row is None:
        raise ImageNotFound
    status = row["status"]
    if status == "failed":
        raise NotFound("The image could not be processed", code="image_failed")
    if status != "succeeded":
        raise NotFound("The image is not processed yet", code="image_pending", retry_after=_PENDING_SECONDS)
    return {name: value for name, value in row.items() if name != "status"}


def to_end(row: dict[str, Any], renditions: Iterable[dict[str, Any]]) -> ImageEnd:
    return ImageEnd(
        uuid=row["uuid"],
        tenant=row["tenant_id"],
        filename=row["filename"],
        content_type=row["content_type"],
        size_bytes=row["size_bytes"],
        width=row["width"],
        height=row["height"],
        renditions=tuple(Rendition(**each) for each in renditions),
        failure=_read_failure(row),
        completed_at=row["completed_at"],
        attempts=row["attempts"],
        traceparent=row["traceparent"],
    )


def _read_failure(row: dict[str, Any]) -> Failure | None:
    code = row["failure_code"]
    return Failure(FailureCode.read(code), row["failure_message"]) if code else None


def _to_metadata(stored: dict[str, Any] | None) -> ImageMetadata | None:
    """Return the metadata, or None if another release wrote it in a form that this one cannot read."""
    if stored is None:
        return None
    try:
        metadata: ImageMetadata = adapt(StoredMetadata).validate_python(stored)
    except ValidationError as error:
        log.warning("metadata_not_readable", reason=str(error))
        return None
    return metadata


def to_collection(row: dict[str, Any]) -> Collection:
    return Collection(**row)
