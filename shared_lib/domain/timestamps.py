"""Times as the API and the events write them."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import PlainSerializer, WithJsonSchema


def format_time(moment: datetime) -> str:
    """Return RFC 3339 in UTC with milliseconds: `2026-03-08T19:02:11.614Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Time = Annotated[
    datetime,
    PlainSerializer(format_time, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-03-08T19:02:11.614Z"]}),
]
