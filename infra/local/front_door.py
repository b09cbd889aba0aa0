"""One port for all public functions: the HTTPRoute's rules, over functions-framework's own applications.

Stands in for a gateway and Knative's ingress. Each function is loaded exactly as in its container; only the process
is shared. As there, a function sees the rewritten host and not the one the caller used. A host that is not this
machine's is refused.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import functions_framework

from infra.local.hosts import KnownHosts
from infra.local.manifests import Manifests, PathMatch, RouteMatch
from infra.local.settings import Settings
from shared_lib import runtime, server
from shared_lib.server.refusals import make_refusal

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

ROOT = Path(__file__).parents[2]


class Route(NamedTuple):
    """One match of one rule, and the host of the function that it leads to."""

    match: RouteMatch
    host: str

    @property
    def precedence(self) -> tuple[int, int, bool]:
        """Sorts the stronger match first: exact path, then expression, then prefix, longest first, then by method.

        The Gateway API leaves the place of expressions to each implementation; Envoy's put them here. What is equal
        keeps its order in the manifest.
        """
        path = self.match.path
        kind = ("Exact", "RegularExpression", "PathPrefix").index(path.type)
        return kind, -len(path.value), self.match.method is None


def routes_of(manifests: Manifests) -> list[Route]:
    """All matches of all rules, strongest first: the first that fits a request is the one that takes it."""
    routes = [
        Route(match, rule.filters[0].url_rewrite.hostname)
        for manifest in manifests.routes
        for rule in manifest.spec.rules
        for match in rule.matches
    ]
    return sorted(routes, key=lambda route: route.precedence)


def fits(path: PathMatch) -> Callable[[str], bool]:
    if path.type == "Exact":
        return path.value.__eq__
    if path.type == "RegularExpression":
        expression = re.compile(path.value)
        return lambda requested: expression.fullmatch(requested) is not None
    prefix = path.value.rstrip("/")
    return lambda requested: requested == prefix or requested.startswith(prefix + "/")


class FrontDoor:
    """A WSGI application that hands each request to the function its route names."""

    def __init__(
        self, routes: Iterable[Route], functions: Mapping[str, "WSGIApplication"], known_hosts: KnownHosts
    ) -> None:
        self._routes = [(route.match.method, fits(route.match.path), route.host) for route in routes]
        self._functions = functions
        self._known_hosts = known_hosts

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        method, path, asked = environ["REQUEST_METHOD"], _path_as_sent(environ), environ.get("HTTP_HOST", "")
        if not self._known_hosts.include(asked, environ["SERVER_NAME"]):
            return _refuse_host(asked, start_response)
        for wanted, path_fits, host in self._routes:
            if wanted in (None, method) and path_fits(path):
                environ |= {"HTTP_HOST": host, "HTTP_X_FORWARDED_HOST": asked}
                return self._functions[host](environ, start_response)
        start_response("404 Not Found", [("Content-Length", "0")])  # as a gateway does when no rule fits
        return []


def _refuse_host(host: str, start_response: "StartResponse") -> Iterable[bytes]:
    name = urlsplit(f"//{host}").hostname
    sentence = f"This machine does not answer to the host {host}. If it should, start it with ALLOWED_HOSTS={name}"
    headers, body = make_refusal(421, sentence)
    start_response("421 Misdirected Request", [(name.decode(), value.decode()) for name, value in headers])
    return [body]


def _path_as_sent(environ: "WSGIEnvironment") -> str:
    """The path before percent-decoding, which is what a gateway compares: `a%2Fb` is one segment."""
    target = f"{environ.get('RAW_URI') or environ['PATH_INFO']}".split("?", 1)[0]
    return target if target.startswith("/") else "/" + target.split("/", 3)[-1]


def create_app() -> FrontDoor:
    """Load every function that a route leads to."""
    manifests = Manifests.read(ROOT / "infra/k8s/routes", ROOT / "infra/knative")
    routes = routes_of(manifests)
    folders = {service.name: service.folder for service in manifests.services}
    functions = {
        host: functions_framework.create_app(  # type: ignore[no-untyped-call]
            "main", f"{ROOT / 'functions' / folders[host.split('.')[0]] / 'main.py'}"
        )
        for host in {route.host for route in routes}
    }
    base_url = runtime.current().settings.http.public_base_url or ""
    named = {urlsplit(base_url).hostname or "", *Settings.from_environment().allowed_hosts}
    return FrontDoor(routes, functions, KnownHosts(named))


if __name__ == "__main__":
    server.run(create_app())
