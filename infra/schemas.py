"""Write the API's OpenAPI document from what the functions declare, and the events' JSON Schemas from their models."""

import json
from pathlib import Path

from infra.functions import ROOT, list_functions
from shared_lib.events import BucketNotification, Payload, ProcessingFailed, ProcessingRequested, ProcessingSucceeded
from shared_lib.web import openapi

EVENTS: tuple[type[Payload], ...] = (ProcessingRequested, ProcessingSucceeded, ProcessingFailed)
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def generate() -> dict[Path, str]:
    endpoints = [function.endpoint for function in list_functions() if function.endpoint]
    documents = {ROOT / "shared_lib" / "web" / "openapi.json": openapi.build(endpoints)}
    for payload in EVENTS:
        schema = payload.model_json_schema(mode="serialization")
        documents[ROOT / "events" / f"{payload.type}.schema.json"] = schema | {
            "$schema": DIALECT,
            "title": payload.type,
        }
    documents[ROOT / "events" / "bucket-events.schema.json"] = {
        "$schema": DIALECT
    } | BucketNotification.model_json_schema(mode="validation")
    return {path: json.dumps(document, indent=2) + "\n" for path, document in documents.items()}
