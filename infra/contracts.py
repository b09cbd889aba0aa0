"""Write what others read from the code that keeps it. Run by `make contracts`; a test compares.

`shared_lib/web/openapi.json` comes from what each function declares, `events/*.schema.json` from the payloads' models,
and nginx's routes, the Postman collection and the table of limits from the modules beside this one.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from functions_framework import _function_registry

from infra import edge, limits, postman
from shared_lib.events import BucketNotification, Payload, ProcessingFailed, ProcessingRequested, ProcessingSucceeded
from shared_lib.web import openapi

ROOT = Path(__file__).parent.parent
EVENTS: tuple[type[Payload], ...] = (ProcessingRequested, ProcessingSucceeded, ProcessingFailed)
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def generate() -> dict[Path, dict[str, Any]]:
    """Every contract, by the file it belongs in."""
    contracts = {ROOT / "shared_lib" / "web" / "openapi.json": openapi.build(_declarations())}
    for payload in EVENTS:
        schema = payload.model_json_schema(mode="serialization")
        contracts[ROOT / "events" / f"{payload.type}.schema.json"] = schema | {
            "$schema": DIALECT,
            "title": payload.type,
        }
    contracts[ROOT / "events" / "bucket-events.schema.json"] = {
        "$schema": DIALECT
    } | BucketNotification.model_json_schema(mode="validation")
    return contracts


def _declarations() -> list[openapi.Declaration]:
    found = []
    for source in sorted((ROOT / "functions").glob("*/main.py")):
        module, spec = _function_registry.load_function_module(str(source))  # type: ignore[no-untyped-call]  # no types
        spec.loader.exec_module(module)
        if declaration := getattr(module.main, "declaration", None):
            found.append(declaration)
    return found


def main() -> None:
    argparse.ArgumentParser(prog="python -m infra.contracts", description=__doc__).parse_args()
    for path, contract in generate().items():
        path.write_text(json.dumps(contract, indent=2) + "\n")
    # These read what has just been written.
    edge.TABLE.write_text(edge.generate())
    postman.COLLECTION.write_text(postman.generate())
    limits.TABLE.write_text(limits.generate())


if __name__ == "__main__":
    main()
