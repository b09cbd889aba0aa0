"""What an endpoint declares about itself, and the OpenAPI 3.1 document made of all declarations.

The document is written to `openapi.json` beside this module by `make contracts` (a test keeps it current): each
function runs alone, and yet every one of them knows which methods a path has, and one of them serves it.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from importlib.resources import files
from typing import Any, Self

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import models_json_schema

from shared_lib.errors import ServiceError
from shared_lib.pipeline.formats import Format

VERSION = "1.0.0"
Schema = dict[str, Any]
_REF = "#/components/schemas/{model}"
_INFO = """Upload images directly, or straight to the object store with a presigned URL; each is processed as soon
as it arrives. Collections group images; an image is in at most one.

Errors have a sentence and a `code`. Images answer `{"error", "code", "details"?}`, `actions/process` also `status` and
`message`; collections answer `{"errors": [{"title", "detail"?, "code", "source"?}]}`, in the manner of JSON:API. A list
of images is an array, with `X-Total-Count` and `Link`; a list of collections is `{"data", "meta"}`. 503 comes with
`Retry-After`: try again. HEIC and JPEG XL take codecs that a deployment may lack; it says so.
"""
_TAGS = {
    "images": "Upload, find, show and delete images, and have renditions made of them.",
    "collections": "Groups of images.",
    "service": "Whether it runs.",
}

MAX_FORM_PARTS = 10
"""A form's file and fields, unknown ones included."""

UPLOAD_TYPES = tuple(each.content_type for each in Format)
"""What the part of a form that holds an image may say it is; any other `image/…` is taken too."""

RENDITION_TYPES = tuple(each.content_type for each in Format if each not in (Format.BMP, Format.HEIC, Format.SVG))
"""What a rendition may be encoded as."""

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
    refusals: dict[int, ServiceError]
    """Status → an example."""
    example: Any = None
    """Of the success; None leaves it to the examples of the fields that `returns` has."""
    path_parameters: dict[str, Any] = field(default_factory=dict)
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    form: type[BaseModel] | None = None
    headers: dict[str, str] = field(default_factory=dict)
    """Of the success, name → description."""
    documented: bool = True
    takes_path: bool = False
    """Whether the handler asks which of its paths it was called by."""


def build(declarations: Iterable[Declaration]) -> Schema:
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
    for form in {each.form for each in declared if each.form is not None}:
        _describe_form(schemas["$defs"][form.__name__])
    paths: dict[str, Schema] = {}
    for each in declared:
        for path in each.paths:
            paths.setdefault(path, {})[each.method.lower()] = _operation(each, path, schemas["$defs"])
    return {
        "openapi": "3.1.0",
        "info": {"title": "Image processing", "version": VERSION, "description": _INFO},
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": about} for name, about in _TAGS.items()],
        "paths": paths,
        "components": {"schemas": schemas["$defs"]},
    }


@cache
def load() -> Schema:
    """The document as it was last written."""
    document: Schema = json.loads((files("shared_lib.web") / "openapi.json").read_text())
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


def _describe_form(schema: Schema) -> None:
    """A form holds a file and texts: no null, and where a text is empty, nothing."""
    texts = {name: _without_null(field) for name, field in schema["properties"].items()}
    schema["properties"] = {"file": {"type": "string", "format": "binary"}} | texts
    schema["required"] = ["file", *schema.get("required", ())]
    schema |= {"additionalProperties": {"type": "string"}, "maxProperties": MAX_FORM_PARTS}


def _without_null(schema: Schema) -> Schema:
    plain = {name: value for name, value in schema.items() if name not in ("anyOf", "default")}
    return next((each for each in schema.get("anyOf", ()) if each.get("type") != "null"), {}) | plain


def _make_example(schema: Schema, schemas: Mapping[str, Schema], *, whole: bool) -> Any:  # noqa: ANN401  any JSON
    """What the examples of a schema's fields make together; unless `whole`, without optional fields that have none."""
    make = partial(_make_example, schemas=schemas, whole=whole)
    if "examples" in schema:
        return schema["examples"][0]
    if "$ref" in schema:
        return make(schemas[schema["$ref"].rpartition("/")[2]])
    if "anyOf" in schema:
        return make(schema["anyOf"][0])
    if "properties" in schema:
        asked = {name for name, field in schema["properties"].items() if whole or "examples" in _without_null(field)}
        asked.update(schema.get("required", ()))
        return {name: make(field) for name, field in schema["properties"].items() if name in asked}
    if "items" in schema:
        return [make(schema["items"])]
    return schema.get("const", schema.get("default", ""))


def _operation(each: Declaration, path: str, schemas: Mapping[str, Schema]) -> Schema:
    operation: Schema = {
        "operationId": each.name + path.removeprefix(each.paths[0]).replace("/", "_"),
        "summary": each.summary,
        "tags": [each.tag],
        "parameters": _parameters(each, path),
        "responses": _responses(each, schemas),
    }
    if each.description:
        operation["description"] = each.description
    if each.body is not None:
        reference = _reference(each.body)
        operation["requestBody"] = _json(reference, _make_example(reference, schemas, whole=False)) | {"required": True}
    if each.form is not None:
        content = {
            "schema": _reference(each.form),
            "encoding": {"file": {"contentType": ", ".join(UPLOAD_TYPES)}},
        }
        operation["requestBody"] = {"content": {"multipart/form-data": content}, "required": True}
    return operation


def _reference(model: type[BaseModel]) -> Schema:
    return {"$ref": _REF.format(model=model.__name__)}


def _json(schema: Schema, example: object) -> Schema:
    return {"content": {"application/json": {"schema": schema, "example": example}}}


def _parameters(each: Declaration, path: str) -> list[Schema]:
    found = [
        _parameter(name, "path", TypeAdapter(kind).json_schema(), required=True)
        for name, kind in each.path_parameters.items()
        if f"{{{name}}}" in path
    ]
    if each.query is not None:
        schema = each.query.model_json_schema(by_alias=True)
        required = schema.get("required", ())
        found += [
            _parameter(name, "query", about, required=name in required) for name, about in schema["properties"].items()
        ]
    return found


def _parameter(name: str, place: str, schema: Schema, *, required: bool) -> Schema:
    description, examples = schema.pop("description", None), schema.get("examples")
    return {
        "name": name,
        "in": place,
        "required": required,
        "schema": schema,
        **({"description": description} if description else {}),
        **({"example": examples[0]} if examples else {}),
    }


def _responses(each: Declaration, schemas: Mapping[str, Schema]) -> Schema:
    headers = REQUEST_ID | {
        name: {"description": about, "schema": {"type": "string"}} for name, about in each.headers.items()
    }
    success: Schema = {"description": each.summary, "headers": headers}
    if each.returns is bytes:
        success["content"] = {name: {"schema": {"type": "string", "format": "binary"}} for name in RENDITION_TYPES}
    elif each.returns is not None:
        schema = _schema_of(each.returns)
        success |= _json(schema, _dump(each.example) or _make_example(schema, schemas, whole=True))
    responses = {str(each.status): success}
    for status, refusal in sorted(each.refusals.items()):
        responses[str(status)] = {
            "description": refusal.public,
            "headers": REQUEST_ID | (RETRY_AFTER if status == 503 else {}),
            **_json(_reference(each.errors), _dump(each.errors.of(refusal))),
        }
    return responses


def _schema_of(returns: Any) -> Schema:  # noqa: ANN401  any type annotation
    if isinstance(returns, type) and issubclass(returns, BaseModel):
        return _reference(returns)
    schema = TypeAdapter(returns).json_schema(ref_template=_REF, mode="serialization")
    schema.pop("$defs", None)
    return schema


def _dump(example: BaseModel | None) -> Any:  # noqa: ANN401  any JSON
    return example and example.model_dump(mode="json", exclude_none=True)
