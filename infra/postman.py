"""Write a Postman collection from the API's OpenAPI document.

`shared_lib/web/openapi.json` defines each request. This module adds the order in which the requests make sense, and the
values that one passes to the next. Run as a whole, the collection tests a running service. Operations that the story
leaves out follow at the end, without checks.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from shared_lib.web import openapi

ROOT = Path(__file__).parent.parent
COLLECTION = ROOT / "docs" / "postman_collection.json"
FORMAT = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"
MAX_POLLS = 60  # every half second, until an image is finished
PHOTOGRAPH = "tests/golden/photographs/coffee.jpg"

Json = dict[str, Any]


class Step(NamedTuple):
    operation: str
    image: str = "image"
    """The variable that holds the UUID of the image that it is about."""
    saves: Mapping[str, str] = {}
    """Variables that later requests use, each with its path in the response."""
    until_finished: bool = False
    """Repeat the request until the image is finished."""


IMAGE = "0b9c0f3e-6e0e-4f3c-8f55-2f0f3f3a9d11"
VARIABLES = {
    "7d1f6a0e-3c61-4f0e-9b57-0a4c8a1f6f2b": "collection",
    "4tR9kQ2mZx": "keyId",
    "5b0f7a52-3a2e-4c0e-9f43-0d9f6f1f9b11": "erasure",
}
"""The other IDs in the description's examples, and the variables that hold those of the run."""

PUT = "put_object"  # to the store, with the URL from the step before: not an operation of this API
STORY = (
    Step("get_health"),
    Step("get_health_live"),
    Step("get_health_ready"),
    Step("upload_image", saves={"image": "data.uuid"}),
    Step("get_image", until_finished=True),
    Step("get_rendition"),
    Step("get_original"),
    Step("get_image_privacy"),
    Step("update_image"),
    Step("preview_image"),
    Step("sign_url"),
    Step("deliver_image"),
    Step("save_preset"),
    Step("list_presets"),
    Step("get_preset"),
    Step("delete_preset"),
    Step("list_attempts"),
    Step("find_similar_images"),
    Step("create_upload_url", saves={"presignedImage": "uuid", "presignedUrl": "presignedUrl"}),
    Step(PUT),
    Step("reserve_upload"),
    Step("create_multipart_upload", saves={"largeImage": "uuid"}),
    Step("sign_upload_parts", "largeImage"),
    Step("list_upload_parts", "largeImage"),
    Step("abort_multipart_upload", "largeImage"),
    Step("complete_multipart_upload"),
    Step("request_processing", "presignedImage"),
    Step("list_images"),
    Step("create_collection", saves={"collection": "data.uuid"}),
    Step("list_collections"),
    Step("update_collection"),
    Step("add_images_to_collection"),
    Step("get_collection"),
    Step("move_images"),
    Step("remove_images_from_collection"),
    Step("delete_collection"),
    Step("delete_image"),
    Step("delete_images"),
    Step("erase_image", "presignedImage", saves={"erasure": "id"}),
    Step("get_erasure"),
    Step("create_api_key", saves={"keyId": "data.id"}),
    Step("list_api_keys"),
    Step("get_caller_privacy"),
    Step("rotate_api_key"),
    Step("revoke_api_key"),
    Step("get_operations_summary"),
    Step("get_version"),
    Step("list_audit_events"),
    Step("list_dead_letters"),
    Step("discard_dead_letter"),
    Step("redrive_failures"),
)


def generate() -> dict[Path, str]:
    description = openapi.load()
    operations = {
        operation["operationId"]: (method.upper(), path, operation)
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
    }
    schemas = description["components"]["schemas"]
    rest = {name: each for name, each in operations.items() if name not in {step.operation for step in STORY}}
    collection = {
        "info": {
            "name": description["info"]["title"],
            "description": description["info"]["description"],
            "schema": FORMAT,
        },
        "variable": [
            {"key": "baseUrl", "value": "http://localhost:5000"},
            {"key": "polls", "value": f"{MAX_POLLS}"},
            {"key": "apiKey", "value": ""},
        ],
        "auth": {
            "type": "apikey",
            "apikey": [_pair("in", "header"), _pair("key", "X-API-Key"), _pair("value", "{{apiKey}}")],
        },
        "item": [
            *(
                _put() if each.operation == PUT else _checked(each, *operations[each.operation], schemas)
                for each in STORY
            ),
            *(_item(Step(name), *each, schemas) for name, each in rest.items()),
        ],
    }
    return {COLLECTION: json.dumps(collection, indent=2) + "\n"}


def _pair(key: str, value: str) -> Json:
    return {"key": key, "value": value, "type": "string"}


def _checked(step: Step, method: str, path: str, operation: Json, schemas: Json) -> Json:
    success = next(status for status in operation["responses"] if status.startswith("2"))
    item = _item(step, method, path, operation, schemas)
    return {"name": item["name"], "event": [_check(int(success), step)], "request": item["request"]}


def _item(step: Step, method: str, path: str, operation: Json, schemas: Json) -> Json:
    request: Json = {"method": method, "url": _url(path, operation, step)}
    if about := operation.get("description"):
        request["description"] = about
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        request |= _form(content["schema"], schemas) if media_type == "multipart/form-data" else _body(content, step)
    return {"name": operation["summary"], "request": request}


def _put() -> Json:
    return {
        "name": "Put the bytes into the store",
        "event": [_check(200, Step(PUT))],
        "request": {
            "auth": {"type": "noauth"},
            "method": "PUT",
            "url": "{{presignedUrl}}",
            "header": [{"key": "Content-Type", "value": "image/jpeg"}],
            "body": {"mode": "file", "file": {"src": PHOTOGRAPH}},
        },
    }


def _url(path: str, operation: Json, step: Step) -> Json:
    for parameter in operation.get("parameters", []):
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", _fill(parameter["example"], step))
    segments = path.strip("/").split("/")
    query = [
        {
            "key": parameter["name"],
            "value": _value(parameter),
            "disabled": not parameter.get("required", False),
        }
        for parameter in operation.get("parameters", [])
        if parameter["in"] == "query"
    ]
    raw = "{{baseUrl}}/" + "/".join(segments)
    enabled = "&".join(f"{each['key']}={each['value']}" for each in query if not each["disabled"])
    return {
        "raw": f"{raw}?{enabled}" if enabled else raw,
        "host": ["{{baseUrl}}"],
        "path": segments,
        **({"query": query} if query else {}),
    }


def _value(parameter: Json) -> str:
    schema = parameter["schema"]
    return str(parameter.get("example") or schema.get("default") or schema.get("anyOf", [schema])[0].get("const", ""))


def _fill(text: str, step: Step) -> str:
    """Put variables in the place of the examples' IDs."""
    for example, variable in {IMAGE: step.image, **VARIABLES}.items():
        text = text.replace(example, f"{{{{{variable}}}}}")
    return text


def _form(schema: Json, schemas: Json) -> Json:
    """Return a form with the photograph and the fields that have an example."""
    fields = schemas[schema["$ref"].rpartition("/")[2]]["properties"]
    texts = {name: field["examples"][0] for name, field in fields.items() if "examples" in field}
    parts = [{"key": "file", "type": "file", "src": PHOTOGRAPH}]
    parts += [{"key": name, "type": "text", "value": value} for name, value in texts.items()]
    return {"body": {"mode": "formdata", "formdata": parts}}


def _body(content: Json, step: Step) -> Json:
    text = _fill(json.dumps(content["example"], indent=2), step)
    return {
        "header": [{"key": "Content-Type", "value": "application/json"}],
        "body": {"mode": "raw", "raw": text, "options": {"raw": {"language": "json"}}},
    }


def _check(status: int, step: Step) -> Json:
    lines = [f"pm.test('status is {status}', () => pm.response.to.have.status({status}));"]
    if step.saves or step.until_finished:
        lines.append(f"const result = pm.response?.code === {status} ? pm.response.json() : undefined;")
    lines += [f"if (result) pm.collectionVariables.set('{name}', result.{path});" for name, path in step.saves.items()]
    if step.until_finished:
        lines += [
            "const left = Number(pm.variables.get('polls'));",
            "if (['pending', 'processing'].includes(result?.status) && left > 1) {",
            "  pm.variables.set('polls', left - 1);",
            "  setTimeout(() => pm.execution.setNextRequest(pm.info.requestName), 500);",
            "} else pm.test('it succeeded', () => pm.expect(result?.status).to.equal('succeeded'));",
        ]
    return {"listen": "test", "script": {"type": "text/javascript", "exec": lines}}
