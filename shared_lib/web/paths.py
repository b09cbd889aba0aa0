"""Find the path template that a request is for, and if there is none, what it may have meant."""

import difflib
import re
from collections.abc import Iterator
from functools import cache
from itertools import takewhile
from typing import Any

import flask

from shared_lib.errors import NotFound, ServiceError
from shared_lib.web.endpoint import Endpoint

REST = "{rest+}"
"""At the end of a path template: the rest of the path."""

_MAX_COMPARED = 200  # characters of a wrong path
_SIMILAR = 0.6  # of what follows the segments that are right


def match_path(request: flask.Request, endpoint: Endpoint) -> tuple[str, dict[str, str]]:
    """Return the path template that the request matches, and its parameters. Raises NotFound."""
    for path in endpoint.route.paths:
        expression, names = _read_template(path)
        found = expression.fullmatch(request.path)
        if found:
            return path, dict(zip(names, found.groups(), strict=True))
    near = _find_nearest(request.path[:_MAX_COMPARED])
    details = [{"message": _suggest(near, request.path)}] if near else []
    raise NotFound(f"There is nothing at {request.path}", code="no_such_path", details=details)


def matches(request: flask.Request, endpoint: Endpoint) -> bool:
    return any(_read_template(path)[0].fullmatch(request.path) for path in endpoint.route.paths)


def _suggest(near: str, path: str) -> str:
    lacks = "A part is missing. " if near.count("/") > path.rstrip("/").count("/") else ""
    example = "".join(f", such as {each}" for each in _find_example(near))
    return f"{lacks}Did you mean {near}{example}? All paths are in /openapi.json"


@cache
def _read_template(path: str) -> tuple[re.Pattern[str], list[str]]:
    # Literal text and parameter names alternate.
    pieces = re.split(r"{(\w+)}", path.removesuffix(REST))
    expression = "([^/]+)".join(map(re.escape, pieces[::2])) + (".+" if path.endswith(REST) else "")
    return re.compile(expression, re.DOTALL), pieces[1::2]


def allowed_methods(path: str, endpoint: Endpoint) -> str:
    """Return the methods of a path template as in Allow: those of all functions, and those that HTTP adds."""
    methods = {endpoint.route.method, *map(str.upper, _list_paths().get(path, ()))}
    return ", ".join(sorted(methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())))


def reject_method(method: str, path: str, endpoint: Endpoint) -> ServiceError:
    """Return the error for a method that a path doesn't take. It names the paths below that do."""
    served = (each for each, methods in _list_paths().items() if method.lower() in methods)
    below = [each for each in served if each.startswith(f"{path}/")]
    plain = [each for each in below if "{" not in each.removeprefix(path)] or below
    details = [{"message": f"{method} is for {', '.join(plain)}"}] if plain else []
    allowed = allowed_methods(path, endpoint)
    return ServiceError(f"{path} takes these methods: {allowed}", code="method_not_allowed", details=details)


def _list_paths() -> dict[str, dict[str, Any]]:
    from shared_lib.web import openapi  # noqa: PLC0415  few requests ask, and it loads what describes all endpoints

    paths: dict[str, dict[str, Any]] = openapi.load()["paths"]
    return paths


def _find_nearest(path: str) -> str:
    """Return the documented path that begins like this one and is most similar then, or an empty text."""
    segments = path.split("/")
    ranked = [(_count_equal(segments, each.split("/")), each) for each in _list_paths()]
    most = max(count for count, _ in ranked)
    scores = {each: _compare(segments[most:], each.split("/")[most:]) for count, each in ranked if count == most}
    near = max(scores, key=scores.__getitem__)
    begins_so = "{" in "/".join(near.split("/")[:most])
    return near if begins_so or scores[near] >= _SIMILAR else ""


def _count_equal(segments: list[str], template: list[str]) -> int:
    """Count the segments that both begin with. A parameter is equal to any."""
    equal = takewhile(lambda pair: pair[0] == pair[1] or "{" in pair[1], zip(segments, template, strict=False))
    return sum(1 for _ in equal)


def _compare(rest: list[str], template: list[str]) -> float:
    return difflib.SequenceMatcher(None, "/".join(rest), "/".join(template)).ratio()


def _find_example(path: str) -> Iterator[str]:
    """Yield the path with its parameters' examples, if it has any."""
    [operation, *_] = _list_paths()[path].values()
    examples = {each["name"]: each.get("example", "") for each in operation["parameters"] if each["in"] == "path"}
    if examples:
        yield re.sub(r"{(\w+)}", lambda name: f"{examples[name[1]]}", path)
