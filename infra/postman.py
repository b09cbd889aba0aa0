"""Write a Postman collection from the API's OpenAPI document.

`shared_lib/web/openapi.json` defines each request. This module adds the order in which the requests make sense, and the
values that one passes to the next. Run as a whole, the collection tests a running service. Operations that the story
leaves out follow at the end, without checks.
"""

import copy
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
    uuid: str = ""
    """The variable that holds the resource's UUID or ID."""
    saves: Mapping[str, str] = {}
    """Variables that later requests use, each with its path in the response."""
    until_finished: bool = False
    """Repeat the request until the image is finished."""


PUT = "put_object"  # to the store, with the URL from the step before: not an operation of this API
STORY = (
    Step("get_health"),
    Step("get_health_live"),
    Step("get_health_ready"),
    Step("upload_image", saves={"image": "data.uuid"}),
    Step("get_image", "image", until_finished=True),
    Step("get_rendition", "image"),
    Step("get_original", "image"),
    Step("get_image_privacy", "image"),
    Step("update_image", "image"),
    Step("preview_image", "image"),
    Step("sign_url", "image"),
    Step("deliver_image", "image"),
    Step("save_preset"),
    Step("list_presets"),
    Step("get_preset"),
    Step("delete_preset"),
    Step("list_attempts", "image"),
    Step("find_similar_images", "image"),
    Step("create_upload_url", saves={"presignedImage": "uuid", "presignedUrl": "presignedUrl"}),
    Step(PUT),
    Step("reserve_upload"),
    Step("create_multipart_upload", saves={"largeImage": "uuid"}),
    Step("sign_upload_parts", "largeImage"),
    Step("list_upload_parts", "largeImage"),
    Step("abort_multipart_upload", "largeImage"),
    Step("complete_multipart_upload", "image"),
    Step("request_processing", "presignedImage"),
    Step("list_images"),
    Step("create_collection", saves={"collection": "data.uuid"}),
    Step("list_collections"),
    Step("update_collection", "collection"),
    Step("add_images_to_collection", "collection"),
    Step("get_collection", "collection"),
    Step("move_images", "image"),
    Step("remove_images_from_collection", "collection"),
    Step("delete_collection", "collection"),
    Step("delete_image", "image"),
    Step("delete_images", "image"),
    Step("erase_image", "presignedImage", saves={"erasure": "id"}),
    Step("get_erasure", "erasure"),
    Step("create_api_key", saves={"keyId": "data.id"}),
    Step("list_api_keys"),
    Step("get_caller_privacy"),
    Step("rotate_api_key", "keyId"),
    Step("revoke_api_key", "keyId"),
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
            *(_item(_outside_story(name, each[1]), *each, schemas) for name, each in rest.items()),
        ],
    }
    return {COLLECTION: json.dumps(collection, indent=2) + "\n"}


def _pair(key: str, value: str) -> Json:
    return {"key": key, "value": value, "type": "string"}


def _outside_story(operation: str, path: str) -> Step:
    return Step(operation, "collection" if path.startswith("/api/v1/collections") else "image")


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
    variable = f"{{{{{step.uuid}}}}}"
    segments = (
        path.strip("/")
        .replace("{uuid}", variable)
        .replace("{key_id}", variable)
        .replace("{erasure_id}", variable)
        .replace("{letter_id}", "0")
        .replace("{name}", "thumbnail")
        .replace("{preset}", "hero")
        .replace("{signature}/{options}/{file}", f"unsafe/w=320/{variable}.webp")
        .split("/")
    )
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


def _form(schema: Json, schemas: Json) -> Json:
    """Return a form with the photograph and the fields that have an example."""
    fields = schemas[schema["$ref"].rpartition("/")[2]]["properties"]
    texts = {name: field["examples"][0] for name, field in fields.items() if "examples" in field}
    parts = [{"key": "file", "type": "file", "src": PHOTOGRAPH}]
    parts += [{"key": name, "type": "text", "value": value} for name, value in texts.items()]
    return {"body": {"mode": "formdata", "formdata": parts}}


def _body(content: Json, step: Step) -> Json:
    example = copy.deepcopy(content["example"])
    if "uuid" in example:
        example["uuid"] = f"{{{{{step.uuid}}}}}"
    if "uuids" in example:
        example["uuids"] = [f"{{{{{step.uuid}}}}}"]
    if "collectionId" in example and step.operation == "move_images":
        example["collectionId"] = "{{collection}}"
    for each in example.get("data", []):
        each["uuid"] = "{{image}}"
    return {
        "header": [{"key": "Content-Type", "value": "application/json"}],
        "body": {"mode": "raw", "raw": json.dumps(example, indent=2), "options": {"raw": {"language": "json"}}},
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
