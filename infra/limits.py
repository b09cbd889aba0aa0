"""Write the table of all limits from the model that keeps them. Run by `make contracts`; a test compares."""

import ast
import inspect
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

from shared_lib import settings
from shared_lib.limits import Limits

TABLE = Path(__file__).parent.parent / "docs" / "limits.md"
PREFIX = settings.Limits.model_config["env_prefix"]
HEAD = """# Limits

Written by `make contracts` from `shared_lib/limits.py`; do not edit.

How much one image may cost. Sizes are read from its header, and refused before a pixel is decoded; memory and time
are kept by the kernel while it is decoded. An image beyond a limit ends as `failed`, with the limit's own code and a
sentence that names the limit and what was found. A function reads the variables when it starts, and does not start
with one that makes no sense.

HEIC and JPEG XL take codecs that a deployment may be built without ([THIRD_PARTY.md](../THIRD_PARTY.md)): it refuses
them, as `unsupported_format`, with a sentence that says so.

| variable | default | code | |
|---|---|---|---|
"""


def generate() -> str:
    described = _describe()
    rows = []
    for field in fields(Limits):
        name, code = field.name, Limits.code_of(field.name)
        default = f"{field.default:g}" if isinstance(field.default, float) else str(field.default)
        rows.append(f"| `{PREFIX}{name.upper()}` | {default} | {f'`{code}`' if code else ''} | {described[name]} |\n")
    return HEAD + "".join(rows)


def _describe() -> dict[str, str]:
    """What the model's source says below each limit. Pydantic can read that too, at every import, in 10 ms."""
    [model] = ast.parse(inspect.getsource(Limits)).body
    assert isinstance(model, ast.ClassDef)  # noqa: S101  # for mypy
    return {
        limit.target.id: " ".join(str(text.value.value).split())
        for limit, text in pairwise(model.body)
        if isinstance(limit, ast.AnnAssign) and isinstance(limit.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
    }
