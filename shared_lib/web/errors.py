"""Errors as callers see them: the HTTP status of each kind, and the JSON bodies."""

from abc import ABC, abstractmethod
from typing import Self

import flask
from pydantic import BaseModel, Field

from shared_lib.domain.images import CollectionNotFound, ImageNotFound
from shared_lib.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    PermissionMissing,
    Rejected,
    ServiceError,
    TooLarge,
    TooManyAttempts,
    Unauthenticated,
    Unavailable,
    Unsupported,
    WorkerError,
)

STATUS: dict[type[ServiceError], int] = {
    Invalid: 400,
    Unauthenticated: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    TooLarge: 413,
    Unsupported: 415,
    Rejected: 422,
    TooManyAttempts: 429,
    WorkerError: 500,
    Unavailable: 503,
}
RETRY_SECONDS = 5
_SCHEME = 'Bearer realm="image-processing"'

NO_CREDENTIALS = Unauthenticated("Send an API key in X-API-Key, or a bearer token", code="credentials_missing")
NO_IMAGE = ImageNotFound()
NO_COLLECTION = CollectionNotFound()


class ErrorBody(BaseModel, ABC, defer_build=True):
    """The JSON of an error."""

    @classmethod
    @abstractmethod
    def of(cls, error: ServiceError) -> Self: ...


class ErrorDetail(BaseModel, defer_build=True):
    parameter: str | None = None
    message: str


class ImageError(ErrorBody):
    """The error of every endpoint that isn't about collections."""

    error: str
    code: str
    details: list[ErrorDetail] | None = None

    @classmethod
    def of(cls, error: ServiceError) -> Self:
        return cls(error=error.public, code=error.code, details=error.details or None)


class ProcessingError(ImageError):
    """An ImageError with the two fields that older clients of `actions/process` read."""

    status: str = "error"
    message: str = ""

    @classmethod
    def of(cls, error: ServiceError) -> Self:
        return cls(error=error.public, message=error.public, code=error.code, details=error.details or None)


class CollectionError(BaseModel, defer_build=True):
    title: str
    detail: str | None = None
    code: str
    source: dict[str, str] | None = None


class CollectionErrors(ErrorBody):
    """The error of endpoints about collections, as in JSON:API."""

    errors: list[CollectionError] = Field(min_length=1)

    @classmethod
    def of(cls, error: ServiceError) -> Self:
        details = error.details or [{"message": None}]
        return cls(
            errors=[
                CollectionError(
                    title=error.public,
                    detail=each["message"],
                    code=error.code,
                    source={"parameter": each["parameter"]} if each.get("parameter") else None,
                )
                for each in details
            ]
        )


def render_error(status: int, error: ServiceError, shape: type[ErrorBody]) -> flask.Response:
    headers = advise_retry(status, error)
    if challenge := _challenge(error):
        headers["WWW-Authenticate"] = challenge
    body = shape.of(error).model_dump_json(exclude_none=True)
    return flask.Response(body, status, headers, mimetype="application/json")


def advise_retry(status: int, error: ServiceError) -> dict[str, str]:
    seconds = error.retry_after or (RETRY_SECONDS if status in (429, 503) else None)
    return {"Retry-After": f"{seconds}"} if seconds else {}


def _challenge(error: ServiceError) -> str | None:
    """Return the challenge of a 401 or 403 (RFC 6750, 3). Without credentials it names no error."""
    if isinstance(error, PermissionMissing):
        return f'{_SCHEME}, error="insufficient_scope", scope="{error.permission}"'
    if isinstance(error, Unauthenticated):
        return _SCHEME if error.code == NO_CREDENTIALS.code else f'{_SCHEME}, error="invalid_token"'
    return None
