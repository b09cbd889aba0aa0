"""Write what the functions declare: `shared_lib/openapi.json`. Run by `make openapi`; a test keeps it current."""

import json
from pathlib import Path
from typing import Any

from functions_framework import _function_registry

from shared_lib import openapi

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "shared_lib" / "openapi.json"


def generate() -> dict[str, Any]:
    """The document, from every function that is an endpoint."""
    declarations = []
    for source in sorted((ROOT / "functions").glob("*/main.py")):
        module, spec = _function_registry.load_function_module(str(source))
        spec.loader.exec_module(module)
        if declaration := getattr(module.main, "declaration", None):
            declarations.append(declaration)
    return openapi.build(declarations)


if __name__ == "__main__":
    DOCUMENT.write_text(json.dumps(generate(), indent=2) + "\n")
