"""What an endpoint declares about itself, and the OpenAPI 3.1 document made of all declarations.

The document is written to `openapi.json` beside this module by `make contracts` (a test keeps it current): each
function runs alone, and yet every one of them knows which methods a path has, and one of them serves it.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Self

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import models_json_schema

from shared_lib.errors import ServiceError
from shared_lib.pipeline.formats import Format

VERSION = "1.0.0"
_REF = "#/components/schemas/{model}"
_INFO = """Upload images directly, or straight to the object store with a presigned URL; each is processed as soon
as it arrives. Collections group images; an image is in at most one."""

MAX_FORM_PARTS = 10
"""A form's file and fields, unknown ones included."""

UPLOAD_TYPES = tuple(each.content_type for each in Format)
"""What the part of a form that holds an image may say it is; any other `image/…` is taken too."""

RETRY_AFTER = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
REQUEST_ID = {"X-Request-Id": {"description": "Names this request in the logs.", "schema": {"type": "string"}}}


class ErrorBody(BaseModel, ABC):
    """A shape in which an endpoint says no."""

    @classmethod
    @abstractmethod
    def of(cls, error: ServiceError) -> Self: ...


@dataclass(frozen=True)
class Declaration:
    """One endpoint, as its function's decorator and signature tell it."""

    name: str
    method: str
    paths: tuple[str, ...]
    summary: str
    description: str
    tag: str
    status: int
    returns: Any
    errors: type[ErrorBody]
    refusals: dict[int, str]
    """Status → an example sentence."""
    path_parameters: dict[str, Any] = field(default_factory=dict)
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    form: type[BaseModel] | None = None
    headers: dict[str, str] = field(default_factory=dict)
    """Of the success, name → description."""
    documented: bool = True
    takes_path: bool = False
    """Whether the handler asks which of its paths it was called by."""


def build(declarations: Iterable[Declaration]) -> dict[str, Any]:
    """The whole document. Order of paths and keys depends on nothing but the declarations."""
    declared = sorted((each for each in declarations if each.documented), key=lambda each: (each.paths, each.method))
    models: dict[type[BaseModel], None] = {}
    for each in declared:
        for model in (each.body, each.form, each.errors, *_models_in(each.returns)):
            if model is not None:
                models[model] = None
    _, schemas = models_json_schema(
        [(model, "validation" if _is_input(model, declared) else "serialization") for model in models],
        ref_template=_REF,
    )
    for each in declared:
        if each.form is not None:
            schema = schemas["$defs"][each.form.__name__]
            schema["properties"] = {"file": {"type": "string", "format": "binary"}} | schema["properties"]
            schema["required"] = ["file", *schema.get("required", ())]
            schema |= {"additionalProperties": {"type": "string"}, "maxProperties": MAX_FORM_PARTS}
    paths: dict[str, dict[str, Any]] = {}
    for each in declared:
        for path in each.paths:
            paths.setdefault(path, {})[each.method.lower()] = _operation(each, path)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Image processing", "version": VERSION, "description": _INFO.replace("\n", " ")},
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in ("images", "collections", "service")],
        "paths": paths,
        "components": {"schemas": schemas["$defs"]},
    }


@cache
def load() -> dict[str, Any]:
    """The document as it was last written."""
    document: dict[str, Any] = json.loads((files("shared_lib") / "openapi.json").read_text())
    return document


def allowed_methods(path: str, own: str) -> tuple[str, ...]:
    """Every method of a path template, an endpoint's own among them, with those that HTTP adds by itself."""
    methods = {own} | {method.upper() for method in load()["paths"].get(path, {})}
    return tuple(sorted(methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())))


def _is_input(model: type[BaseModel], declared: Iterable[Declaration]) -> bool:
    return any(model in (each.body, each.form) for each in declared)


def _models_in(returns: Any) -> list[type[BaseModel]]:  # noqa: ANN401  any type annotation
    arguments = getattr(returns, "__args__", (returns,))
    return [each for each in arguments if isinstance(each, type) and issubclass(each, BaseModel)]


def _operation(each: Declaration, path: str) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": each.name + path.removeprefix(each.paths[0]).replace("/", "_"),
        "summary": each.summary,
        "tags": [each.tag],
        "parameters": _parameters(each, path),
        "responses": _responses(each),
    }
    if each.description:
        operation["description"] = each.description
    if each.body is not None:
        operation["requestBody"] = _content("application/json", each.body) | {"required": True}
    if each.form is not None:
        operation["requestBody"] = _content("multipart/form-data", each.form) | {"required": True}
        operation["requestBody"]["content"]["multipart/form-data"]["encoding"] = {
            "file": {"contentType": ", ".join(UPLOAD_TYPES)}
        }
    return operation


def _content(media_type: str, model: type[BaseModel]) -> dict[str, Any]:
    return {"content": {media_type: {"schema": {"$ref": _REF.format(model=model.__name__)}}}}


def _parameters(each: Declaration, path: str) -> list[dict[str, Any]]:
    found = [
        {"name": name, "in": "path", "required": True, "schema": TypeAdapter(kind).json_schema()}
        for name, kind in each.path_parameters.items()
        if f"{{{name}}}" in path
    ]
    if each.query is not None:
        schema = each.query.model_json_schema(by_alias=True)
        for name, about in schema["properties"].items():
            description = about.pop("description", None)
            parameter = {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": about}
            found.append(parameter | ({"description": description} if description else {}))
    return found


def _responses(each: Declaration) -> dict[str, Any]:
    headers = REQUEST_ID | {
        name: {"description": about, "schema": {"type": "string"}} for name, about in each.headers.items()
    }
    success: dict[str, Any] = {"description": each.summary, "headers": headers}
    if each.returns is bytes:
        success["content"] = {"image/*": {"schema": {"type": "string", "format": "binary"}}}
    elif each.returns is not None:
        schema = TypeAdapter(each.returns).json_schema(ref_template=_REF, mode="serialization")
        schema.pop("$defs", None)
        if isinstance(each.returns, type) and issubclass(each.returns, BaseModel):
            schema = {"$ref": _REF.format(model=each.returns.__name__)}
        success["content"] = {"application/json": {"schema": schema}}
    responses = {str(each.status): success}
    for status, sentence in sorted(each.refusals.items()):
        responses[str(status)] = {
            "description": sentence,
            "headers": REQUEST_ID | (RETRY_AFTER if status == 503 else {}),
            **_content("application/json", each.errors),
        }
    return responses
