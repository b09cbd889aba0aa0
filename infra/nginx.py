"""Write nginx's routing table from the HTTPRoutes, for clusters without the Gateway API and for Compose.

An HTTPRoute leaves the precedence of its rules to the gateway. Here it becomes the order of the lines.
"""

import re
from pathlib import Path

from infra.functions import ROOT
from infra.local.gateway import Route, routes_of
from infra.local.manifests import Manifests

ROUTES = ROOT / "infra" / "k8s" / "routes"
TABLE = ROOT / "infra" / "k8s" / "components" / "nginx-edge" / "functions.conf"
HEADER = """\
# Written by `make contracts` from infra/k8s/routes. Do not edit.
#
# The function for each method and path. The first line that matches decides.
"""


def generate() -> dict[Path, str]:
    lines = (f"    {_key(route)} {route.host.split('.')[0]};" for route in routes_of(Manifests.read(ROUTES)))
    return {TABLE: HEADER + 'map "$request_method $path" $function {\n' + "\n".join(lines) + "\n}\n"}


def _key(route: Route) -> str:
    """Return a match as a regular expression: nginx compares plain strings without regard to case."""
    path = route.match.path
    expression = {
        "Exact": f"{_escape(path.value)}$",
        "RegularExpression": f"{path.value}$",
        "PathPrefix": _escape(path.value.rstrip("/")) + "(/|$)",
    }[path.type]
    return rf'"~^{route.match.method or "[^ ]+"} {expression}"'


def _escape(path: str) -> str:
    return re.escape(path).replace(r"\-", "-")
