"""Every regular expression takes time in proportion to its text, so nobody can hold a process with one."""

import json
import subprocess

import pytest
from fuzz.expressions import Expression, find_expressions
from service import ROOT

HERE = ROOT / "tests/fuzz"
UNKNOWN = {
    "shared_lib/constraints.py: matches",  # of each Pattern, which is found by itself
    "shared_lib/delivery/thumbor/filters.py: register",  # FILTERS has them
    "shared_lib/web/paths.py: _read_template",  # of our own paths
}


def check(expressions: list[Expression]) -> list[dict[str, str]]:
    """Return those that are not linear, each with an input that shows it."""
    command = ["node", f"{HERE / 'expressions.mjs'}", f"{ROOT / 'tests/clients'}"]
    given = json.dumps([each.in_javascript for each in expressions])
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=True)
    found: list[dict[str, str]] = json.loads(done.stdout)
    return found


@pytest.mark.timeout(600)
def test_every_regular_expression_is_linear() -> None:
    expressions, unknown = find_expressions()

    assert set(unknown) == UNKNOWN
    assert len(expressions) > 50
    assert check(expressions) == []


@pytest.mark.parametrize(
    ("pattern", "method"),
    [(r"\s*('.+?'|[^,]+?)\s*,", "match"), (r"\d*[1-9]\d*", "fullmatch"), (r"\s+$", "search"), ("(a+)+b", "fullmatch")],
)
def test_the_check_finds_an_expression_that_is_not_linear(pattern: str, method: str) -> None:
    [found] = check([Expression("here", pattern, 0, method)])

    assert found["status"] == "vulnerable"
