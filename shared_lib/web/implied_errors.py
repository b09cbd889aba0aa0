"""The errors that an endpoint documents: its own, and those that its inputs and the service imply."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

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
from shared_lib.validation import REQUIRED, adapt, describe_mistake, describe_unknown, invalid
from shared_lib.web.endpoint import Endpoint
from shared_lib.web.errors import NO_CREDENTIALS, STATUS
from shared_lib.web.forms import file_too_large
from shared_lib.web.requests import body_too_large, not_json

BUSY = Unavailable("The service is busy: try again later", code="busy")  # as the server says it
_NO_PARAMETER = "x y"  # neither a UUID nor a name
_URI_TOO_LONG = "Path and query together are too long (max 8192 bytes)"  # as the server says it


def list_errors(endpoint: Endpoint) -> dict[int, ServiceError]:
    """Return an example by status. One that the endpoint declares replaces an implied one."""
    declared = {look_up(STATUS, each, 500): each for each in endpoint.errors.examples}
    return dict(_implied(endpoint)) | dict(_refusals(endpoint)) | declared


def _refusals(endpoint: Endpoint) -> Iterator[tuple[int, ServiceError]]:
    if endpoint.needs != "nothing":
        yield 401, NO_CREDENTIALS
        yield 403, PermissionMissing(endpoint.needs)
        most = Rates.model_fields["requests_per_minute"].default
        yield 429, TooManyAttempts(f"At most {most:,} requests a minute", code="rate_exceeded")


def _implied(endpoint: Endpoint) -> Iterator[tuple[int, ServiceError]]:
    inputs = endpoint.inputs
    yield 503, Unavailable("The database is out of reach")
    if mistakes := list(_find_mistakes(inputs.path)):
        yield 400, mistakes[0]
    elif model := inputs.query or inputs.body:
        yield 400, _invalid_field(model)
    elif not endpoint.ignores_query:
        yield 400, _invalid("limit", describe_unknown("limit"))
    if inputs.query:
        yield 414, ServiceError(_URI_TOO_LONG, code="uri_too_long")
    if inputs.body:
        yield 413, body_too_large()
        yield 415, not_json()
    if inputs.form:
        yield 413, file_too_large(Processing.model_fields["max_upload_bytes"].default)
        yield 415, Unsupported("Only image files are allowed", code="not_an_image")


def _find_mistakes(path: Mapping[str, Any]) -> Iterator[Invalid]:
    """Yield the error of each parameter that cannot be any text."""
    for name, kind in path.items():
        try:
            adapt(kind).validate_python(_NO_PARAMETER)
        except ValidationError as error:
            yield _invalid(name, describe_mistake(error.errors()[0]))


def _invalid_field(model: type[BaseModel]) -> Invalid:
    """Return the error of a required field that is missing, or else of a field whose name lacks its last letter."""
    names = {field.alias or name: field for name, field in model.model_fields.items()}
    required = next((name for name, field in names.items() if field.is_required()), None)
    if required:
        return _invalid(required, REQUIRED)
    wrong = next(iter(names))[:-1]
    return _invalid(wrong, describe_unknown(wrong, tuple(names)))


def _invalid(parameter: str, message: str) -> Invalid:
    return invalid([{"parameter": parameter, "message": message}])
