"""The errors that an endpoint documents: its own, and those that its inputs and the service imply."""

from collections.abc import Iterator

from pydantic import BaseModel

from shared_lib.constraints import NAME_PATTERN
from shared_lib.domain.api_keys import ID_PATTERN
from shared_lib.errors import (
    Invalid,
    PermissionMissing,
    ServiceError,
    TooManyAttempts,
    Unavailable,
    Unsupported,
    look_up,
)
from shared_lib.settings import Processing, Rates
from shared_lib.web.endpoint import Endpoint, Inputs
from shared_lib.web.errors import NO_CREDENTIALS, STATUS
from shared_lib.web.operations import DEAD_LETTER_ID
from shared_lib.web.requests import body_too_large, file_too_large, not_json

BUSY = Unavailable("The service is busy: try again later", code="busy")  # as the server says it
_URI_TOO_LONG = "Path and query together are too long (max 8192 bytes)"  # as the server says it


def list_errors(endpoint: Endpoint) -> dict[int, ServiceError]:
    """Return an example by status. One that the endpoint declares replaces an implied one."""
    declared = {look_up(STATUS, each, 500): each for each in endpoint.errors.examples}
    return dict(_implied(endpoint.inputs)) | dict(_refusals(endpoint)) | declared


def _refusals(endpoint: Endpoint) -> Iterator[tuple[int, ServiceError]]:
    if endpoint.needs != "nothing":
        yield 401, NO_CREDENTIALS
        yield 403, PermissionMissing(endpoint.needs)
        most = Rates.model_fields["requests_per_minute"].default
        yield 429, TooManyAttempts(f"At most {most:,} requests a minute", code="rate_exceeded")


def _implied(inputs: Inputs) -> Iterator[tuple[int, ServiceError]]:
    yield 503, Unavailable("The database is out of reach")
    if uuids := inputs.path.keys() & {"uuid", "erasure_id"}:
        yield 400, _invalid(uuids.pop(), "Input should be a valid UUID, invalid character: found `x` at 0")
    elif "key_id" in inputs.path:
        yield 400, _invalid("key_id", f"String should match pattern '{ID_PATTERN}'")
    elif "letter_id" in inputs.path:
        yield 400, _invalid("letter_id", f"String should match pattern '{DEAD_LETTER_ID}'")
    elif "preset" in inputs.path:
        yield 400, _invalid("preset", f"String should match pattern '{NAME_PATTERN}'")
    elif model := inputs.query or inputs.body:
        yield 400, _invalid_field(model)
    if inputs.query:
        yield 414, ServiceError(_URI_TOO_LONG, code="uri_too_long")
    if inputs.body:
        yield 413, body_too_large()
        yield 415, not_json()
    if inputs.form:
        yield 413, file_too_large(Processing.model_fields["max_upload_bytes"].default)
        yield 415, Unsupported("Only image files are allowed", code="not_an_image")


def _invalid_field(model: type[BaseModel]) -> Invalid:
    required = [field.alias or name for name, field in model.model_fields.items() if field.is_required()]
    if required:
        return _invalid(required[0], "Field required")
    return _invalid("page", "Input should be greater than or equal to 1")


def _invalid(parameter: str, message: str) -> Invalid:
    return Invalid(f"{parameter}: {message}", details=[{"parameter": parameter, "message": message}])
