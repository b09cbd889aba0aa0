"""Write the table of limits in docs/limits.md from the model that defines them."""

import ast
import inspect
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

from infra.regions import fill
from shared_lib import settings
from shared_lib.limits import Limits

TABLE = Path(__file__).parent.parent / "docs" / "limits.md"
PREFIX = settings.Limits.prefix


def generate() -> dict[Path, str]:
    described = _describe()
    rows = []
    for field in fields(Limits):
        name, code = field.name, Limits.code_of(field.name)
        default = f"{field.default:g}" if isinstance(field.default, float) else str(field.default)
        rows.append(f"| `{PREFIX}{name.upper()}` | {default} | {f'`{code}`' if code else ''} | {described[name]} |\n")
    return {TABLE: fill(TABLE, limits=["| variable | default | code | description |\n|---|---|---|---|\n", *rows])}


def _describe() -> dict[str, str]:
    """Return the docstring below each limit. Pydantic can read them too, but at every import, in 10 ms."""
    [model] = ast.parse(inspect.getsource(Limits)).body
    assert isinstance(model, ast.ClassDef)  # noqa: S101  # for mypy
    return {
        limit.target.id: " ".join(str(text.value.value).split())
        for limit, text in pairwise(model.body)
        if isinstance(limit, ast.AnnAssign) and isinstance(limit.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
    }
