"""Write the HTTPRoutes of the Gateway API from the methods and paths that the functions declare."""

import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

from infra.functions import ROOT, list_functions
from shared_lib.web import Endpoint
from shared_lib.web.paths import REST

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
    - {{name: public, namespace: image-processing-gateway}}
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
    endpoints = [each.endpoint for each in list_functions() if each.endpoint and each.is_public]
    return {ROUTES: HEADER + "---\n".join(_routes(endpoints))}


def _routes(endpoints: list[Endpoint]) -> Iterator[str]:
    first = {path: each.name for each in sorted(endpoints, key=_order, reverse=True) for path in each.route.paths}
    ordered = sorted(endpoints, key=lambda each: (each.docs.tag, _order(each)))
    for tag, tagged in groupby(ordered, lambda each: each.docs.tag):
        rules = [_rule(each, first) for each in tagged]
        for start in range(0, len(rules), MAX_RULES):
            name = f"api-{tag}-{start // MAX_RULES + 1}" if start else f"api-{tag}"
            yield ROUTE.format(name=name) + "".join(rules[start : start + MAX_RULES])


def _order(endpoint: Endpoint) -> tuple[str, int]:
    return endpoint.route.paths[0], METHODS.index(endpoint.route.method)


def _rule(endpoint: Endpoint, first: dict[str, str]) -> str:
    matches = "".join(f"        - {{{match}}}\n" for match in _matches(endpoint, first))
    return RULE.format(matches=matches, function=endpoint.name.replace("_", "-"))


def _matches(endpoint: Endpoint, first: dict[str, str]) -> Iterable[str]:
    if CATCH_ALL in endpoint.route.paths:
        yield f"path: {{type: PathPrefix, value: {CATCH_ALL}}}"
        return
    for path in endpoint.route.paths:
        yield f"method: {endpoint.route.method}, path: {_match(path)}"
        if first[path] == endpoint.name:
            yield f"path: {_match(path)}"


def _match(path: str) -> str:
    if path.endswith(REST):
        return f"{{type: PathPrefix, value: {path.removesuffix(REST).rstrip('/')}}}"
    if "{" not in path:
        return f"{{type: Exact, value: {path}}}"
    expression = "[^/]+".join(re.escape(part).replace(r"\-", "-") for part in re.split(r"{\w+}", path))
    return f"{{type: RegularExpression, value: '{expression}'}}"
