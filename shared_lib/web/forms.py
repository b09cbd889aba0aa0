"""Parse forms with a file: `multipart/form-data` (RFC 7578).

Not by Werkzeug, which takes seven times as long for a photograph: it compiles expressions for each form's boundary, and
searches the file by them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import flask
from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_options_header

from shared_lib.domain.uploads import UNKNOWN_TYPE
from shared_lib.errors import Invalid, TooLarge, Unsupported
from shared_lib.settings import FORM_OVERHEAD

MAX_FORM_PARTS = 10  # a form's file and fields, unknown ones included
_CHUNK = 256 * 1024  # bytes
_LARGER = (
    "For a larger file, POST /api/v1/images/actions/upload-url gives a URL to put it to, and "
    "POST /api/v1/images/actions/multipart-upload one for each of its parts"
)


@dataclass(frozen=True)
class UploadedFile:
    """The file of a form, in memory: a direct upload is small by contract."""

    filename: str
    content_type: str
    data: bytes


@dataclass(frozen=True)
class Form:
    fields: MultiDict[str, str] = field(default_factory=MultiDict)
    """Without those that were left empty, which web pages send too."""
    files: MultiDict[str, UploadedFile] = field(default_factory=MultiDict)


def file_too_large(limit: int) -> TooLarge:
    return TooLarge(
        f"File too large. Maximum size is {limit // (1024 * 1024)}MB",
        code="file_too_large",
        details=[{"parameter": "file", "message": _LARGER}],
    )


def parse_form(request: flask.Request, limit: int) -> Form:
    """Parse a form whose files have at most `limit` bytes. Raises Invalid, TooLarge or Unsupported."""
    request.max_content_length = limit + FORM_OVERHEAD
    if (request.content_length or 0) > request.max_content_length:
        raise file_too_large(limit)
    if request.mimetype != "multipart/form-data":
        raise Unsupported("Send a form, with Content-Type: multipart/form-data")
    boundary = request.mimetype_params.get("boundary")
    if not boundary:
        raise Invalid("The form's Content-Type has no boundary")
    form = Form()
    try:
        for part, data in _read_parts(request, boundary, limit):
            _add(form, part, data)
    except RequestEntityTooLarge as error:  # a chunked body has no length in advance
        raise file_too_large(limit) from error
    except ParserLimitReached as error:
        raise _too_much() from error
    except MultipartError as error:
        raise Invalid(f"The form is not valid: {error}") from error
    return form


def _read_parts(request: flask.Request, boundary: str, limit: int) -> Iterator[tuple[MultipartSegment, bytes]]:
    parser = PushMultipartParser(boundary, max_segment_count=MAX_FORM_PARTS, max_header_size=FORM_OVERHEAD)
    chunks: list[bytes] = []
    for event in parser.parse_blocking(request.stream.read, _CHUNK):
        if isinstance(event, MultipartSegment):
            part = event
        elif event is None:
            yield part, b"".join(chunks)
            chunks = []
        elif part.bytes_received > limit:
            raise file_too_large(limit)
        else:
            chunks.append(event)


def _add(form: Form, part: MultipartSegment, data: bytes) -> None:
    # Unlike the parser, Werkzeug knows `filename*` (RFC 8187), which older clients send for names beyond ASCII.
    _, options = parse_options_header(part["Content-Disposition"])
    name, path = options.get("name", ""), options.get("filename")
    if path is not None:
        filename = path.replace("\\", "/").rpartition("/")[2]
        form.files.add(name, UploadedFile(filename, part.content_type or UNKNOWN_TYPE, data))
    elif len(data) > FORM_OVERHEAD:
        raise _too_much()
    elif data:
        form.fields.add(name, data.decode(errors="replace"))


def _too_much() -> Invalid:
    return Invalid("The form has a field that is too large, or too many fields")
