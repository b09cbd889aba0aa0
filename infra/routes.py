"""Write the HTTPRoutes of the Gateway API from the methods and paths that the functions declare."""

import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

from infra.functions import ROOT, list_functions
from shared_lib.web.openapi import Declaration

ROUTES = ROOT / "infra" / "k8s" / "routes" / "api.yaml"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
CATCH_ALL = "/"
MAX_RULES = 16
"""Of one HTTPRoute, by the Gateway API."""

HEADER = """\
# Written by `make contracts` from the methods and paths that the functions declare. Do not edit.
#
# All functions share one public host. A rule selects a function by path and method, and rewrites the host to the
# function's own, which is how Knative's internal gateway finds it.
#
# The first function of a path also matches every other method: it answers OPTIONS for the whole path, and 405 with
# `Allow`. By the Gateway API's precedence, a match that names the method wins over one that does not. The function that
# declares `/` matches every path that no other rule does, and answers 404 as JSON.
#
# An HTTPRoute has at most 16 rules, so there is one for each part of the API. Together they work like a single one.
"""
ROUTE = """\
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: {name}
  namespace: image-processing
spec:
  parentRefs:
    - name: public
  rules:
"""
RULE = """\
    - matches:
{matches}      filters:
        - type: URLRewrite
          urlRewrite: {{hostname: {function}.image-processing.svc.cluster.local}}
      backendRefs:
        - {{name: kourier-internal, namespace: kourier-system, port: 80}}
"""


def generate() -> dict[Path, str]:
    declarations = [function.declaration for function in list_functions() if function.declaration]
    return {ROUTES: HEADER + "---\n".join(_routes(declarations))}


def _routes(declarations: list[Declaration]) -> Iterator[str]:
    first = {path: each.name for each in sorted(declarations, key=_order, reverse=True) for path in each.paths}
    for tag, tagged in groupby(sorted(declarations, key=lambda each: (each.tag, _order(each))), lambda each: each.tag):
        rules = [_rule(each, first) for each in tagged]
        for start in range(0, len(rules), MAX_RULES):
            name = f"api-{tag}-{start // MAX_RULES + 1}" if start else f"api-{tag}"
            yield ROUTE.format(name=name) + "".join(rules[start : start + MAX_RULES])


def _order(declaration: Declaration) -> tuple[str, int]:
    return declaration.paths[0], METHODS.index(declaration.method)


def _rule(declaration: Declaration, first: dict[str, str]) -> str:
    matches = "".join(f"        - {{{match}}}\n" for match in _matches(declaration, first))
    return RULE.format(matches=matches, function=declaration.name.replace("_", "-"))


def _matches(declaration: Declaration, first: dict[str, str]) -> Iterable[str]:
    if CATCH_ALL in declaration.paths:
        yield f"path: {{type: PathPrefix, value: {CATCH_ALL}}}"
        return
    for path in declaration.paths:
        yield f"method: {declaration.method}, path: {_match(path)}"
        if first[path] == declaration.name:
            yield f"path: {_match(path)}"


def _match(path: str) -> str:
    if "{" not in path:
        return f"{{type: Exact, value: {path}}}"
    expression = "[^/]+".join(re.escape(part).replace(r"\-", "-") for part in re.split(r"{\w+}", path))
    return f"{{type: RegularExpression, value: '{expression}'}}"
