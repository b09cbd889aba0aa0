"""Events: their names, payloads and form on Kafka, and the messages that stores send.

CloudEvents 1.0, on Kafka in binary content mode. The folder `events/` at the top holds the same contract for other
languages, as JSON Schema and examples. A test keeps both equal.
"""

import base64
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar
from urllib.parse import unquote_plus
from uuid import UUID

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from shared_lib.constraints import DEFAULT_TENANT, Bounds
from shared_lib.domain import images as domain
from shared_lib.domain.timestamps import Time, format_time
from shared_lib.domain.uploads import read_upload_key, split_key
from shared_lib.errors import FailureCode, Invalid

PREFIX = "org.imageprocessing.image.processing"
TASKS, COMPLETED, BUCKET_EVENTS = "image-tasks", "image-completed", "bucket-events"
TOPICS = (TASKS, COMPLETED, BUCKET_EVENTS)
GROUP = "image-processing-process-image"
"""The consumer group of the event source of `process_image`."""
CONSUMED = (TASKS, BUCKET_EVENTS)
"""The topics that it reads."""

KAFKA_RECORD = "dev.knative.kafka.event"
"""The type that a KafkaSource gives to a record that isn't a CloudEvent."""

MAX_RECORDS = 100
"""Of one notification. MinIO, RustFS and AWS send one record each."""
MAX_KEY = 1024
"""Bytes of an object's key (S3)."""
MAX_REASON = 500
"""Characters of the response to a failed delivery that are kept."""

# Other ObjectCreated events (PutTagging, PutRetention, PutLegalHold) are not about new bytes.
_CREATIONS = ("Put", "Post", "CompleteMultipartUpload", "Copy")


class Part(BaseModel):
    """A JSON object with camelCase names. Built on first use."""

    model_config = ConfigDict(
        defer_build=True, frozen=True, alias_generator=to_camel, populate_by_name=True, serialize_by_alias=True
    )


class Payload(Part):
    """The data of an event about one image."""

    type: ClassVar[str]
    topic: ClassVar[str]

    uuid: UUID

    def to_kafka(self, function: str, traceparent: str | None) -> tuple[bytes, bytes, list[tuple[str, bytes]]]:
        """Return the record's key, value and headers. `function` names the sender and becomes the event's source."""
        attributes = {
            "ce_specversion": "1.0",
            "ce_id": str(uuid.uuid4()),
            "ce_source": f"/image-processing/{function}",
            "ce_type": self.type,
            "ce_subject": str(self.uuid),
            "ce_time": format_time(datetime.now(UTC)),
            "ce_partitionkey": str(self.uuid),
            "content-type": "application/json",
        } | ({"ce_traceparent": traceparent} if traceparent else {})
        headers = [(name, value.encode()) for name, value in attributes.items()]
        return str(self.uuid).encode(), self.model_dump_json().encode(), headers


class ProcessingRequested(Payload):
    """Look at this image now."""

    type: ClassVar[str] = f"{PREFIX}.requested.v1"
    topic: ClassVar[str] = TASKS

    tenant: str | None = Field(default=None, description="Whose image it is. Earlier releases left it out.")


class Rendition(Part):
    name: str
    url: str = Field(description="Path of its bytes on the API's host.")
    content_type: str
    width: int = Field(description="px")
    height: int = Field(description="px")
    size_bytes: int


class Failure(Part):
    code: FailureCode
    message: str


class ProcessingSucceeded(Payload):
    """The image's renditions can be downloaded."""

    type: ClassVar[str] = f"{PREFIX}.succeeded.v1"
    topic: ClassVar[str] = COMPLETED

    tenant: str = Field(description="Whose image it is.")
    filename: str
    content_type: str
    size_bytes: int = Field(description="The original's size.")
    width: int = Field(description="px, upright")
    height: int = Field(description="px, upright")
    renditions: tuple[Rendition, ...]
    completed_at: Time
    attempts: int


class ProcessingFailed(Payload):
    """The image has ended without renditions; `error.code` is one of a closed list."""

    type: ClassVar[str] = f"{PREFIX}.failed.v1"
    topic: ClassVar[str] = COMPLETED

    tenant: str = Field(description="Whose image it is.")
    filename: str
    error: Failure
    completed_at: Time
    attempts: int


def describe_end(end: domain.ImageEnd) -> ProcessingSucceeded | ProcessingFailed:
    """Return the event for the way an image ended. Its size and type are known if it succeeded."""
    if end.failure:
        return ProcessingFailed(
            uuid=end.uuid,
            tenant=end.tenant,
            filename=end.filename,
            error=Failure(code=end.failure.code, message=end.failure.message),
            completed_at=end.completed_at,
            attempts=end.attempts,
        )
    return ProcessingSucceeded.model_validate(
        {name: getattr(end, name) for name in ProcessingSucceeded.model_fields if name != "renditions"}
        | {"renditions": [_describe_rendition(end.uuid, each) for each in end.renditions]}
    )


def _describe_rendition(image: UUID, rendition: domain.Rendition) -> Rendition:
    return Rendition(
        name=rendition.name,
        url=f"/api/v1/images/{image}/renditions/{rendition.name}",
        content_type=rendition.content_type,
        width=rendition.width,
        height=rendition.height,
        size_bytes=rendition.size_bytes,
    )


class _Bucket(BaseModel):
    name: str


class _Object(BaseModel):
    key: str


class _S3(BaseModel):
    bucket: _Bucket
    object: _Object


class _Record(BaseModel):
    event_name: str = Field(validation_alias=AliasChoices("eventName", "EventName"))
    s3: _S3


class BucketNotification(BaseModel):
    """A store's own message. MinIO, RustFS and AWS differ around `Records`, not inside.

    Size and ETag are not trusted: the event only says where to look.
    """

    # A store puts one record into a message. A message with many more was not written by a store.
    records: Annotated[tuple[_Record, ...], Bounds(min_length=1, max_length=MAX_RECORDS)] = Field(alias="Records")

    def created_keys(self, bucket: str) -> list[str]:
        """Return the decoded keys of the objects that were created in that bucket."""
        created = (
            unquote_plus(record.s3.object.key)
            for record in self.records
            if record.s3.bucket.name == bucket and _is_creation(record.event_name)
        )
        return [key for key in created if _may_be_stored(key)]


def _may_be_stored(key: str) -> bool:
    """Return whether a store can have an object of this key. To ask for another is an error, however often."""
    encoded = key.encode(errors="replace")  # of half a character
    is_one = 0 < len(encoded) <= MAX_KEY and "\0" not in key and encoded.decode() == key
    return is_one and not {".", ".."} & set(key.split("/"))


def _is_creation(name: str) -> bool:
    kind, _, how = name.removeprefix("s3:").partition(":")
    return kind == "ObjectCreated" and how in _CREATIONS


@dataclass(frozen=True, slots=True)
class ImageRequested:
    """An event that asks for an image to be processed."""

    uuid: UUID
    tenant: str | None = None

    @property
    def images(self) -> list[UUID]:
        return [self.uuid]


@dataclass(frozen=True, slots=True)
class ObjectsCreated:
    """An event that tells of new objects in the inbox."""

    keys: tuple[str, ...]

    @property
    def images(self) -> list[UUID]:
        """The images that the keys name. A foreign object is no image yet."""
        return [uuid for uuid in map(read_upload_key, self.keys) if uuid]

    @property
    def tenant(self) -> str:
        """Whose the first object is."""
        return split_key(self.keys[0])[0] if self.keys else DEFAULT_TENANT


def read_work(event_type: str, data: Any, inbox: str) -> ImageRequested | ObjectsCreated:  # noqa: ANN401  of any event
    """Read an event that the processor consumes. Raises Invalid if nobody can act on it."""
    try:
        if event_type == ProcessingRequested.type:
            requested = ProcessingRequested.model_validate(data)
            return ImageRequested(requested.uuid, requested.tenant)
        if event_type == KAFKA_RECORD:
            return ObjectsCreated(tuple(BucketNotification.model_validate(data).created_keys(inbox)))
    except ValidationError as error:
        raise Invalid(f"The data of this {event_type} event cannot be read") from error
    raise Invalid(f"Events of type {event_type} are not for this function")


def read_reason(data: str | None) -> str:
    """Return the response to a failed delivery as plain text. The extension `knativeerrordata` has it in Base64."""
    try:
        response = base64.b64decode(data or "", validate=True)
    except ValueError:
        return "the answer could not be read"
    return clean_text(response.decode(errors="replace"), MAX_REASON) or "the function could not be reached"


def clean_text(text: str, max_length: int) -> str:
    """Return the first `max_length` characters of a text from outside, with spaces for unprintable ones."""
    return "".join(letter if letter.isprintable() else " " for letter in text[:max_length]).strip()
