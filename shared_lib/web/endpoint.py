"""The declaration of an endpoint: its name, paths, inputs, response, errors, caching, and who may call it.

`dispatch.py` serves it and `openapi.py` documents it, both from this declaration alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, get_args

from pydantic import BaseModel

from shared_lib.domain.principals import Permission
from shared_lib.domain.rates import RequestKind
from shared_lib.errors import ServiceError
from shared_lib.web.errors import ErrorBody

Tag = Literal["images", "collections", "keys", "delivery", "operations", "service"]

Need = Permission | Literal["nothing"]
"""The permission that a caller must have. `nothing`: anyone may call, and no credentials are read."""
NEEDS: frozenset[str] = frozenset({*get_args(Permission), "nothing"})


class Cache(StrEnum):
    """Cache-Control of a success. Errors are never stored."""

    NO_STORE = "no-store"
    REVALIDATE = "private, no-cache"
    """Stored by the caller alone, and used only after the ETag, and with it the caller's permission, was checked."""
    BY_URL = "public, no-cache"
    """Stored by anyone. The response itself says for how long it may be used."""


@dataclass(frozen=True, init=False)
class Route:
    """A method, and the path templates that it is served at, such as `/images/{uuid}`.

    A last parameter such as `{rest+}` matches the rest of the path with its slashes. Such endpoints are not in OpenAPI.
    """

    method: str
    paths: tuple[str, ...]

    def __init__(self, method: str, *paths: str) -> None:
        object.__setattr__(self, "method", method)
        object.__setattr__(self, "paths", paths)

    @property
    def served_methods(self) -> tuple[str, ...]:
        """The method, and HEAD with GET. Every path responds to OPTIONS, too."""
        return ("GET", "HEAD") if self.method == "GET" else (self.method,)


@dataclass(frozen=True, kw_only=True)
class Docs:
    """The endpoint's documentation in OpenAPI."""

    tag: Tag
    """The part of the API. The gateway's routes are grouped by it, too."""
    summary: str
    description: str = ""
    summaries: Mapping[str, str] = field(default_factory=dict)
    """Path → summary, for further paths that need one of their own."""
    is_hidden: bool = False
    """Leave the endpoint out of OpenAPI."""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The handler's keyword arguments. Each is validated before it is called."""

    path: Mapping[str, Any] = field(default_factory=dict)
    """Path parameters: name → type. Each is an argument of that name."""
    query: type[BaseModel] | None = None
    """None: it takes no parameter, and any is an error."""
    body: type[BaseModel] | None = None
    """A JSON body. Like those of the query, names that it doesn't have are errors, at any depth."""
    form: type[BaseModel] | None = None
    """The text fields of a multipart form. Its part `file`, which it must have, is an argument too: `UploadedFile`."""
    url_path: bool = False
    """Pass the request's path, for a handler that serves several."""
    principal: bool = False
    """Pass the caller, a Principal."""
    sent_path: bool = False
    """Pass the path as it was sent, before decoding: what a signature is computed of."""
    accept: bool = False
    """Pass the header Accept, an empty text if there is none."""

    def arguments(self, template: str) -> list[str]:
        """Return the names of the arguments that the handler is called with for a path template."""
        optional = {
            "query": self.query,
            "body": self.body,
            "form": self.form,
            "file": self.form,
            "url_path": self.url_path,
            "principal": self.principal,
            "sent_path": self.sent_path,
            "accept": self.accept,
        }
        in_path = [name for name in self.path if f"{{{name}}}" in template]
        return in_path + [name for name, declared in optional.items() if declared]


@dataclass(frozen=True)
class Success:
    """The response if nothing fails."""

    model: Any
    """The type of the JSON body: any annotation that pydantic takes. `bytes` for an image."""
    status: int = 200
    example: BaseModel | None = None
    """Needed only if the examples of the model's fields don't make a true one."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Name → description."""


@dataclass(frozen=True)
class Errors:
    """The responses if something fails."""

    body: type[ErrorBody]
    """The JSON of every error."""
    examples: Sequence[ServiceError] = ()
    """One of each error that the handler itself raises. OpenAPI adds those that the inputs imply."""
    seconds: int = 0
    """Time that shared caches may use a refusal that will not soon change."""
    varies_by: str = ""
    """The header that decides between errors, too."""
    word: Callable[[ServiceError], tuple[int, str]] | None = None
    """Status and text of an error, for clients of another service. None: our JSON."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    name: str
    """The function's folder, and its operationId in OpenAPI."""
    route: Route
    docs: Docs
    inputs: Inputs = Inputs()
    success: Success
    errors: Errors
    needs: Need
    """Without a default: who may call is a decision."""
    counts_as: RequestKind = "requests"
    """Its kind. All but `requests` have images decoded, so they also need decoder seconds."""
    is_embeddable: bool = False
    """Pages of any site may request it, as an `<img>` does. Otherwise only those that settings allow."""
    cache: Cache = Cache.NO_STORE
    """For responses that don't set Cache-Control themselves."""
    is_private: bool = False
    """No route leads to it: only callers inside the cluster reach it."""
    is_probe: bool = False
    """Log successes at debug level only: probes come every few seconds."""

    @property
    def ignores_query(self) -> bool:
        """Pages, probes and URLs of images ignore what others add, such as a number that passes by a cache."""
        return self.needs == "nothing" or self.is_embeddable

    def __post_init__(self) -> None:
        """Raise ValueError for a permission that does not exist: the function then does not load."""
        if self.needs not in NEEDS:
            raise ValueError(f"{self.name} needs {self.needs!r}, and there is no such permission")
