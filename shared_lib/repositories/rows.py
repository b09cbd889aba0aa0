"""Rows become what they mean, the same way for every table."""

from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from shared_lib.domain.images import (
    Collection,
    FailedRendition,
    Failure,
    Image,
    Knowledge,
    RenditionView,
    make_data_url,
)
from shared_lib.errors import FailureCode
from shared_lib.observability import get_logger

log = get_logger()

# A deleted image, or one that awaits its upload, does not exist for callers.
VISIBLE_IMAGE = "i.deleted_at IS NULL AND i.status <> 'awaiting_upload'"

IMAGE_COLUMNS = """
    i.uuid, i.filename, i.description, i.status, i.created_at, i.completed_at, i.collection_id,
    i.content_type, i.size_bytes, i.sha256, i.knowledge, i.width, i.height,
    i.failure_code, i.failure_message, i.attempts,
    (SELECT json_agg(json_build_object('name', r.name, 'contentType', r.content_type, 'width', r.width,
                                       'height', r.height, 'sizeBytes', r.size_bytes) ORDER BY r.name)
       FROM renditions r WHERE r.image_id = i.uuid) AS renditions,
    (SELECT json_agg(json_build_object('name', o.name, 'code', o.failure_code, 'message', o.failure_message)
                     ORDER BY o.name)
       FROM rendition_orders o WHERE o.image_id = i.uuid) AS orders
"""
PREVIEW_COLUMNS = ", i.preview, i.preview_type"

COLLECTION_COLUMNS = """
    c.uuid, c.name, c.description, c.created_at, c.updated_at,
    (SELECT CAST(coalesce(sum(n.change), 0) AS bigint) FROM image_counts n WHERE n.collection_id = c.uuid)
        AS image_count
"""


_KNOWLEDGE = TypeAdapter(Knowledge)
_CODES = {code.value for code in FailureCode}


def to_image(row: dict[str, Any], *, location: bool = False) -> Image:
    """Where it was taken is told only to those who ask for just that."""
    preview, orders = row.get("preview"), row["orders"] or ()
    return Image(
        uuid=row["uuid"],
        filename=row["filename"],
        description=row["description"],
        status=row["status"],
        created_at=row["created_at"],
        completed_at=row["completed_at"],
        collection_id=row["collection_id"],
        content_type=row["content_type"],
        size_bytes=row["size_bytes"],
        width=row["width"],
        height=row["height"],
        sha256=row["sha256"],
        details=_to_details(row["knowledge"], location=location),
        renditions=tuple(
            RenditionView(**each, url=f"/api/v1/images/{row['uuid']}/renditions/{each['name']}")
            for each in row["renditions"] or ()
        ),
        pending_renditions=tuple(order["name"] for order in orders if not order["code"]),
        failed_renditions=tuple(
            FailedRendition(name=order["name"], error=_to_failure(order["code"], order["message"]))
            for order in orders
            if order["code"]
        ),
        error=_to_failure(row["failure_code"], row["failure_message"]) if row["failure_code"] else None,
        attempts=row["attempts"],
        image_data=make_data_url(row["preview_type"], preview) if preview else None,
    )


def _to_failure(code: str, message: str) -> Failure:
    """Another release's code must not spoil the page that it is on."""
    return Failure(code=FailureCode(code) if code in _CODES else FailureCode.OTHER, message=message)


def _to_details(knowledge: dict[str, Any] | None, *, location: bool) -> Knowledge | None:
    if knowledge is None:
        return None
    try:
        details = _KNOWLEDGE.validate_python(knowledge)
    except ValidationError as error:  # another release wrote it: the image is shown without
        log.warning("knowledge_not_readable", reason=str(error))
        return None
    return details if location else replace(details, location=None)


def to_collection(row: dict[str, Any]) -> Collection:
    return Collection.model_validate(row)
