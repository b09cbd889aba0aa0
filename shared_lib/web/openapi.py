"""The OpenAPI 3.1 document of all endpoints.

`make contracts` writes it to `openapi.json` beside this module, and a test keeps it current. Each function runs alone,
so it reads the methods that other functions serve at its path from there.
"""

import copy
import json
from collections.abc import Iterable, Mapping
from functools import cache, partial
from importlib import metadata
from importlib.resources import files
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, models_json_schema
from pydantic_core.core_schema import ModelSchema

from shared_lib.errors import ServiceError
from shared_lib.pipeline.formats import WRITTEN, Format
from shared_lib.web.assets import compress
from shared_lib.web.endpoint import Endpoint, Inputs, Success
from shared_lib.web.implied_errors import BUSY, list_errors
from shared_lib.web.responses import Content

Schema = dict[str, Any]
_REF = "#/components/schemas/{model}"
_INFO = """Upload images directly, or to the object store with a presigned URL. Each is processed as soon as it arrives.
Collections group images. An image is in at most one.

Every error has a sentence and a `code`. Endpoints about images return `{"error", "code", "details"?}`, and
`actions/process` adds `status` and `message`. Endpoints about collections return
`{"errors": [{"title", "detail"?, "code", "source"?}]}`, as in JSON:API. A 503 has `Retry-After`: try again. So
has a 429, for more requests or uploads in a minute than the rate of the caller or its tenant. Responses say in
`RateLimit` what remains.
A 403 `quota_exceeded` says that there are as many images, bytes or renditions as there may be.

A parameter, a form's field or a field of JSON that an operation does not have is an error (400), which names the
nearest one that it has. So no request succeeds without what a misspelled name asked for.

A list of images is an array. A list of collections is `{"data", "meta"}`. To get a list's next page, follow the `Link`
with `rel="next"`, or pass `X-Next-Cursor` as `after`. No item that stays in the list is skipped or repeated, whatever
is added or deleted meanwhile. Pages have numbers, too, which move when the list changes. `X-Total-Count` is the number
of matches, or a lower bound if `X-Total-Count-Relation` is `gte`.

HEIC and JPEG XL need codecs that a deployment may lack. Its error then says so.
"""
_TAGS = {
    "keys": "API keys, for programs that call this API.",
    "images": "Upload, find and delete images, and request and download renditions.",
    "collections": "Groups of images.",
    "delivery": "Renditions on request, by URL.",
    "operations": "For operators: the state of the whole service, dead letters, and retries.",
    "service": "Health and version of the service.",
}

_SECURITY_SCHEMES = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "An access token of one of the issuers that this service trusts.",
    },
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "`imgp_…`"},
}

UPLOAD_TYPES = tuple(each.content_type for each in Format)
"""Documented content types of an uploaded file. Any other `image/…` is accepted too."""

RENDITION_TYPES = tuple(each.content_type for each in WRITTEN)
"""Content types of renditions."""

OTHER_TYPE = "application/octet-stream"
"""Documented for renditions, but not sent today: callers should read a type that a later release adds as bytes.
openapi-python-client knows no image types, and generates a method for the bytes only if it finds this one."""

BINARY = {"type": "string", "format": "binary"}
RETRY_AFTER = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
CHALLENGE = {"WWW-Authenticate": {"description": "As in RFC 6750.", "schema": {"type": "string"}}}
REQUEST_ID = {
    "X-Request-Id": {"description": "The request's ID in the logs.", "schema": {"type": "string"}},
    "X-Trace-Id": {"description": "The trace that it belongs to (W3C Trace Context).", "schema": {"type": "string"}},
}
RATE_LIMIT = {
    name: {"description": about, "schema": {"type": "string"}}
    for name, about in (
        ("RateLimit", "What remains (`r`), and the seconds until all is there again (`t`)."),
        ("RateLimit-Policy", "How many requests (`q`) may come in so many seconds (`w`)."),
    )
}
_HEADERS = {401: CHALLENGE, 429: RETRY_AFTER | RATE_LIMIT}


class _Generator(GenerateJsonSchema):
    """Leave fields' titles out: pydantic makes `Sortby` of `sortBy`, and generated clients name types after that.

    Say that what callers send has no other fields. What they receive may get more with a later release.
    """

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002  every field is alike
        return False

    def model_schema(self, schema: ModelSchema) -> Schema:
        closed = {"additionalProperties": False} if self.mode == "validation" else {}
        return super().model_schema(schema) | closed


def build(endpoints: Iterable[Endpoint]) -> Schema:
    """Return the document. Its order depends on the endpoints alone, not on the order in which they come."""
    documented = [each for each in endpoints if not each.docs.is_hidden]
    documented.sort(key=lambda each: (each.route.paths, each.route.method))
    schemas = _schemas(documented)
    paths: dict[str, Schema] = {}
    for each in documented:
        for path in each.route.paths:
            paths.setdefault(path, {})[each.route.method.lower()] = _operation(each, path, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Image processing", "version": metadata.version("image-processing"), "description": _INFO},
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": about} for name, about in _TAGS.items()],
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": _SECURITY_SCHEMES},
    }


@cache
def load() -> Schema:
    """Return the document as `make contracts` last wrote it."""
    document: Schema = json.loads((files("shared_lib.web") / "openapi.json").read_text())
    return document


@cache
def render(*, anonymous: bool) -> Content:
    """Return the document as this installation serves it: credentials are optional where anyone may call."""
    document = copy.deepcopy(load())
    for operation in (each for methods in document["paths"].values() for each in methods.values()):
        if anonymous and operation["security"]:
            operation["security"].insert(0, {})
    data = json.dumps(document).encode()
    return Content(data, "application/json", {"Cache-Control": "max-age=300"}, encodings=compress(data))


def _schemas(endpoints: Iterable[Endpoint]) -> Schema:
    """Return every model that the endpoints read or return, by name."""
    inputs = {model: None for each in endpoints for model in (each.inputs.body, each.inputs.form) if model}
    outputs = {model: None for each in endpoints for model in (each.errors.body, *_models_in(each.success.model))}
    modes: list[tuple[type[BaseModel], JsonSchemaMode]] = [(model, "validation") for model in inputs]
    modes += [(model, "serialization") for model in outputs]
    _, definitions = models_json_schema(modes, ref_template=_REF, schema_generator=_Generator)
    schemas: Schema = definitions["$defs"]
    for field in (field for schema in schemas.values() for field in schema.get("properties", {}).values()):
        field.pop("readOnly", None)  # a computed field has it, and generators then add a second type for writing
    for form in {each.inputs.form for each in endpoints if each.inputs.form}:
        _describe_form(schemas[form.__name__])
    return schemas


def _models_in(annotation: Any) -> list[type[BaseModel]]:  # noqa: ANN401  any type annotation
    arguments = getattr(annotation, "__args__", (annotation,))
    return [each for each in arguments if isinstance(each, type) and issubclass(each, BaseModel)]


def _describe_form(schema: Schema) -> None:
    """Add the file. A form's other fields are text: they can't be null, and an empty one counts as absent."""
    texts = {name: _without_null(field) for name, field in schema["properties"].items()}
    schema["properties"] = {"file": BINARY} | texts
    schema["required"] = ["file", *schema.get("required", ())]


def _without_null(schema: Schema) -> Schema:
    rest = {name: value for name, value in schema.items() if name not in ("anyOf", "default")}
    return next((each for each in schema.get("anyOf", ()) if each.get("type") != "null"), {}) | rest


def _make_example(schema: Schema, schemas: Mapping[str, Schema], *, whole: bool) -> Any:  # noqa: ANN401  any JSON
    """Put the examples of a schema's fields together. Unless `whole`, leave out optional fields that have none."""
    make = partial(_make_example, schemas=schemas, whole=whole)
    if "examples" in schema:
        return schema["examples"][0]
    if "$ref" in schema:
        return make(schemas[schema["$ref"].rpartition("/")[2]])
    if "anyOf" in schema:
        return make(schema["anyOf"][0])
    if "properties" in schema:
        shown = {name for name, field in schema["properties"].items() if whole or "examples" in _without_null(field)}
        shown.update(schema.get("required", ()))
        return {name: make(field) for name, field in schema["properties"].items() if name in shown}
    if "items" in schema:
        return [make(schema["items"])]
    return schema.get("const", schema.get("default", ""))


def _operation(endpoint: Endpoint, path: str, schemas: Mapping[str, Schema]) -> Schema:
    docs = endpoint.docs
    summary = docs.summaries.get(path, docs.summary)
    operation: Schema = {
        "operationId": endpoint.name + path.removeprefix(endpoint.route.paths[0]).replace("/", "_"),
        "summary": summary,
        "tags": [docs.tag],
        "security": [] if endpoint.needs == "nothing" else [{name: []} for name in _SECURITY_SCHEMES],
        "parameters": _parameters(endpoint.inputs, path),
        "responses": {str(endpoint.success.status): _success(endpoint.success, summary, schemas)}
        | {str(status): _error(endpoint, status, error) for status, error in sorted(list_errors(endpoint).items())},
    }
    needs = "" if endpoint.needs == "nothing" else f"Needs the permission `{endpoint.needs}`."
    if about := "\n\n".join(filter(None, (docs.description, needs))):
        operation["description"] = about
    if body := _request_body(endpoint.inputs, schemas):
        operation["requestBody"] = body
    return operation


def _request_body(inputs: Inputs, schemas: Mapping[str, Schema]) -> Schema | None:
    if inputs.body:
        reference = _reference(inputs.body)
        return _json(reference, _make_example(reference, schemas, whole=False)) | {"required": True}
    if inputs.form:
        encoding = {"file": {"contentType": ", ".join(UPLOAD_TYPES)}}
        content = {"schema": _reference(inputs.form), "encoding": encoding}
        return {"content": {"multipart/form-data": content}, "required": True}
    return None


def _reference(model: type[BaseModel]) -> Schema:
    return {"$ref": _REF.format(model=model.__name__)}


def _json(schema: Schema, example: object) -> Schema:
    return {"content": {"application/json": {"schema": schema, "example": example}}}


def _parameters(inputs: Inputs, path: str) -> list[Schema]:
    found = [
        _parameter(name, "path", TypeAdapter(kind).json_schema(schema_generator=_Generator), required=True)
        for name, kind in inputs.path.items()
        if f"{{{name}}}" in path
    ]
    if inputs.query:
        schema = inputs.query.model_json_schema(by_alias=True, schema_generator=_Generator)
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


def _success(success: Success, summary: str, schemas: Mapping[str, Schema]) -> Schema:
    headers = {name: {"description": about, "schema": {"type": "string"}} for name, about in success.headers.items()}
    response: Schema = {"description": summary, "headers": REQUEST_ID | headers}
    if success.model is bytes:
        return response | {"content": {name: {"schema": BINARY} for name in (*RENDITION_TYPES, OTHER_TYPE)}}
    schema = _schema_of(success.model)
    return response | _json(schema, _dump(success.example) or _make_example(schema, schemas, whole=True))


def _error(endpoint: Endpoint, status: int, error: ServiceError) -> Schema:
    response = {
        "description": error.public,
        "headers": REQUEST_ID | _HEADERS.get(status, {}),
        **_json(_reference(endpoint.errors.body), _dump(endpoint.errors.body.of(error))),
    }
    return _may_be_busy(endpoint, response) if status == 503 else response


def _may_be_busy(endpoint: Endpoint, response: Schema) -> Schema:
    """Add the other reason for a 503, which the server sends before the endpoint is called."""
    content = response["content"]["application/json"]
    busy = {"summary": BUSY.public, "value": _dump(endpoint.errors.body.of(BUSY))}
    examples = {"unavailable": {"summary": response["description"], "value": content["example"]}, "busy": busy}
    return {
        "description": "The service, or one that it depends on, is busy or out of reach",
        "headers": REQUEST_ID | RETRY_AFTER,
        "content": {"application/json": {"schema": content["schema"], "examples": examples}},
    }


def _schema_of(model: Any) -> Schema:  # noqa: ANN401  any type annotation
    if isinstance(model, type) and issubclass(model, BaseModel):
        return _reference(model)
    schema = TypeAdapter(model).json_schema(ref_template=_REF, mode="serialization", schema_generator=_Generator)
    schema.pop("$defs", None)
    return schema


def _dump(example: BaseModel | None) -> Any:  # noqa: ANN401  any JSON
    return example and example.model_dump(mode="json", exclude_none=True)
