"""The OpenAPI document, the events' schemas and their examples agree with the code."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import jsonschema
import pytest
from service import ROOT

from infra.schemas import DIALECT, EVENTS
from shared_lib.events import (
    KAFKA_RECORD,
    ImageRequested,
    ObjectsCreated,
    Payload,
    ProcessingRequested,
    read_work,
)
from shared_lib.web import openapi

EXAMPLES = sorted((ROOT / "events").glob("*.example.json"))


def test_the_api_describes_every_object_by_its_fields() -> None:
    schemas = json.loads((ROOT / "shared_lib" / "web" / "openapi.json").read_text())["components"]["schemas"]

    objects = {name: schema for name, schema in schemas.items() if schema["type"] == "object"}
    assert [name for name, schema in objects.items() if not schema.get("properties")] == []


def _examples() -> Iterator[tuple[str, Any, Any]]:
    """Yield each example of the API's description with its place and its schema."""
    for path, methods in openapi.load()["paths"].items():
        for method, operation in methods.items():
            parts = {"request": operation.get("requestBody", {})} | operation["responses"]
            for name, part in parts.items():
                for content in part.get("content", {}).values():
                    yield f"{method} {path} {name}", content["schema"], content.get("example")
                    for kind, example in content.get("examples", {}).items():
                        yield f"{method} {path} {name} {kind}", content["schema"], example["value"]
            for parameter in operation["parameters"]:
                yield f"{method} {path} {parameter['name']}", parameter["schema"], parameter.get("example")


@pytest.mark.parametrize(("schema", "example"), [pytest.param(*each, id=where) for where, *each in _examples()])
def test_every_example_of_the_api_is_valid_by_its_schema(schema: dict[str, Any], example: object) -> None:
    whole = schema | {"$schema": DIALECT, "components": openapi.load()["components"]}
    if example is not None:
        jsonschema.validate(example, whole, format_checker=jsonschema.FormatChecker())


def test_every_json_response_has_an_example_without_placeholders() -> None:
    for path, methods in openapi.load()["paths"].items():
        for operation in methods.values():
            for status, response in operation["responses"].items():
                if content := response["content"].get("application/json"):
                    example = json.dumps(content.get("examples") or content["example"])
                    assert '"string"' not in example, (path, status)
                    assert '""' not in example, (path, status)


def test_summaries_keep_their_capital_letters() -> None:
    assert openapi.load()["paths"]["/api/v1/images/actions/upload-url"]["get"]["summary"].startswith("Get a URL ")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_of_an_event_is_valid_by_its_schema(path: Path) -> None:
    example = json.loads(path.read_text())
    schema = json.loads(path.with_name(path.name.replace(".example.", ".schema.")).read_text())

    jsonschema.validate(example.get("data", example), schema, format_checker=jsonschema.FormatChecker())


@pytest.mark.parametrize("payload", EVENTS, ids=lambda payload: payload.type)
def test_an_event_is_sent_to_kafka_as_its_example_shows(payload: type[Payload]) -> None:
    example = json.loads((ROOT / "events" / f"{payload.type}.example.json").read_text())

    key, value, headers = payload.model_validate(example["data"]).to_kafka(
        example["source"].rpartition("/")[2], example["traceparent"]
    )

    sent = {name: text.decode() for name, text in headers}
    expected = {f"ce_{name}": text for name, text in example.items() if name not in ("data", "datacontenttype")}
    assert sent.keys() == expected.keys() | {"content-type"}
    assert sent["content-type"] == example["datacontenttype"]
    for name in expected.keys() - {"ce_id", "ce_time"}:
        assert sent[name] == expected[name]
    assert json.loads(value) == example["data"]
    assert key.decode() == example["partitionkey"]


def test_a_stores_notification_names_the_new_objects() -> None:
    message = json.loads((ROOT / "events" / "bucket-events.example.json").read_text())

    uuid = "0b9c0f3e-6e0e-4f3c-8f55-2f0f3f3a9d11"
    assert read_work(KAFKA_RECORD, message, "upload-images") == ObjectsCreated((uuid,))


@pytest.mark.parametrize(
    ("event_name", "key", "keys"),
    [
        ("s3:ObjectCreated:Put", "holiday+photos%2Fmy%20cat.jpg", ("holiday photos/my cat.jpg",)),
        ("ObjectCreated:CompleteMultipartUpload", "a%2Bb.jpg", ("a+b.jpg",)),
        ("s3:ObjectCreated:Copy", "c.jpg", ("c.jpg",)),
        ("s3:ObjectCreated:Post", "p.jpg", ("p.jpg",)),
        ("s3:ObjectCreated:PutTagging", "t.jpg", ()),
        ("s3:ObjectRemoved:Delete", "d.jpg", ()),
    ],
)
def test_only_notifications_of_new_bytes_lead_to_processing(event_name: str, key: str, keys: tuple[str, ...]) -> None:
    record = {"eventName": event_name, "s3": {"bucket": {"name": "upload-images"}, "object": {"key": key}}}

    assert read_work(KAFKA_RECORD, {"Records": [record]}, "upload-images") == ObjectsCreated(keys)
    assert read_work(KAFKA_RECORD, {"Records": [record]}, "another-bucket") == ObjectsCreated(())


def test_a_processing_request_names_its_image() -> None:
    uuid = "0b9c0f3e-6e0e-4f3c-8f55-2f0f3f3a9d11"
    assert read_work(ProcessingRequested.type, {"uuid": uuid}, "upload-images") == ImageRequested(UUID(uuid))
