"""Write the nginx edge's table from the routes that Gateway API reads. Run by `make contracts`; a test compares.

The order of precedence, which an HTTPRoute leaves to whoever serves it, becomes the order of the lines.
"""

import re
from pathlib import Path

from infra.local.front_door import Route, routes_of
from infra.local.manifests import Manifests

ROUTES = Path(__file__).parent / "k8s" / "routes"
TABLE = Path(__file__).parent / "k8s" / "components" / "nginx-edge" / "functions.conf"
HEADER = """\
# Which function answers, by method and path; the first line that fits. Written by `make contracts` from
# infra/k8s/routes.
"""


def generate() -> str:
    lines = (f"    {_key(route)} {route.host.split('.')[0]};" for route in routes_of(Manifests.read(ROUTES)))
    return HEADER + 'map "$request_method $path" $function {\n' + "\n".join(lines) + "\n}\n"


def _key(route: Route) -> str:
    """One match as an expression, for nginx's plain strings do not tell `a` from `A`."""
    path = route.match.path
    expression = {
        "Exact": f"{_escape(path.value)}$",
        "RegularExpression": f"{path.value}$",
        "PathPrefix": _escape(path.value.rstrip("/")) + "(/|$)",
    }[path.type]
    return rf'"~^{route.match.method or "[^ ]+"} {expression}"'


def _escape(path: str) -> str:
    return re.escape(path).replace(r"\-", "-")
