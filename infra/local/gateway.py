"""Serve all public functions on one port, by the rules of the HTTPRoutes.

This replaces a gateway and Knative's ingress, for `make run` and Compose. Each function is loaded as in its container,
but all share one process, in which each has threads and a queue of its own: one that is busy doesn't delay the others.
A function sees the rewritten host instead of the caller's, as in a cluster. Requests for hosts other than this machine
get status 421.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from hmac import compare_digest
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import functions_framework
import urllib3

from infra.local import event_report
from infra.local.hosts import KnownHosts, choose_scrapers, read_name
from infra.local.manifests import ROOT, Manifests, PathMatch, RouteMatch
from infra.local.settings import Settings
from shared_lib import runtime, server
from shared_lib.server.errors import render_error
from shared_lib.server.limiter import Limiter
from shared_lib.services.health import TIMEOUT_SECONDS
from shared_lib.settings import Serving

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from uvicorn._types import HTTPScope

DEFAULT_THREADS = Serving.model_fields["threads"].default
MIN_THREADS = 24  # for each function: where Knative adds pods of fewer threads, one process serves all requests


class Route(NamedTuple):
    """One match of one rule, and the host of the function that it selects."""

    match: RouteMatch
    host: str

    @property
    def precedence(self) -> tuple[int, int, bool]:
        """Sort by kind of path (exact, expression, prefix), then longer ones first, then those with a method first.

        The Gateway API leaves the precedence of expressions to implementations. Those on Envoy put them here. Equal
        matches keep their order in the manifest.
        """
        path = self.match.path
        kind = ("Exact", "RegularExpression", "PathPrefix").index(path.type)
        return kind, -len(path.value), self.match.method is None


SAFE_METHODS = ("GET", "HEAD", "OPTIONS", "TRACE")
PURGE_SECONDS = 10.0
_ROOTS = {"imgproxy": "/imgproxy", "thumbor": "/thumbor"}


def find_root(host: str) -> str:
    """Return what goes before the paths of this host: `imgproxy.localhost` serves imgproxy's URLs at its root."""
    first, dot, _ = host.lower().partition(".")
    return _ROOTS.get(first, "") if dot else ""


def routes_of(manifests: Manifests) -> list[Route]:
    """Return all matches of all rules by precedence: the first that matches a request serves it."""
    routes = [
        Route(match, rule.filters[0].url_rewrite.hostname)
        for manifest in manifests.routes
        for rule in manifest.spec.rules
        for match in rule.matches
    ]
    return sorted(routes, key=lambda route: route.precedence)


def matcher(path: PathMatch) -> Callable[[str], bool]:
    if path.type == "Exact":
        return path.value.__eq__
    if path.type == "RegularExpression":
        expression = re.compile(path.value)
        return lambda requested: expression.fullmatch(requested) is not None
    prefix = path.value.rstrip("/")
    return lambda requested: requested == prefix or requested.startswith(prefix + "/")


class Gateway:
    """A WSGI application that passes each request to the function of its route."""

    def __init__(
        self,
        routes: Iterable[Route],
        functions: Mapping[str, "WSGIApplication"],
        known_hosts: KnownHosts,
        after_change: Callable[[], None] = lambda: None,
    ) -> None:
        """`after_change` is called before a response to a request with an unsafe method is sent."""
        self._routes = [(route.match.method, matcher(route.match.path), route.host) for route in routes]
        self._functions = functions
        self._known_hosts = known_hosts
        self._after_change = after_change

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        host = environ.get("HTTP_HOST", "")
        if root := find_root(host):
            environ["RAW_URI"] = root + _target_of(f"{environ.get('RAW_URI') or environ['PATH_INFO']}")
            environ["PATH_INFO"] = root + environ["PATH_INFO"]
        method, path = environ["REQUEST_METHOD"], _raw_path(environ)
        if not self._known_hosts.include(host, environ["SERVER_NAME"]):
            return _reject_host(host, path, start_response)
        function_host = self.select(method, path)
        if function_host is None:
            start_response("404 Not Found", [("Content-Length", "0")])  # like a gateway when no rule matches
            return []
        client = environ.get("REMOTE_ADDR", "")  # which only this proxy knows: what callers wrote comes before it
        environ |= {
            "HTTP_HOST": function_host,
            "HTTP_X_FORWARDED_HOST": host,
            "HTTP_X_FORWARDED_FOR": ", ".join(filter(None, (environ.get("HTTP_X_FORWARDED_FOR"), client))),
        }
        response = self._functions[function_host](environ, start_response)
        if method not in SAFE_METHODS:
            self._after_change()
        return response

    def select(self, method: str, path: str) -> str | None:
        """Return the host of the function that serves a request, or None."""
        for route_method, matches, host in self._routes:
            if route_method in (None, method) and matches(path):
                return host
        return None


def _reject_host(host: str, path: str, start_response: "StartResponse") -> Iterable[bytes]:
    name = read_name(host)
    message = f"The host {host} is not allowed here. To allow it, start the service with ALLOWED_HOSTS={name}"
    headers, body = render_error(421, message, path=path)
    start_response("421 Misdirected Request", [(name.decode(), value.decode()) for name, value in headers])
    return [body]


def _raw_path(environ: "WSGIEnvironment") -> str:
    """Return the path before percent-decoding. Gateways compare that: `a%2Fb` is one segment."""
    return _path_of(f"{environ.get('RAW_URI') or environ['PATH_INFO']}")


def _path_of(target: str) -> str:
    return _target_of(target).split("?", 1)[0]


def _target_of(target: str) -> str:
    """Return path and query. A target that was meant for a proxy begins with scheme and host."""
    return target if target.startswith("/") else "/" + target.split("/", 3)[-1]


def create_app(manifests: Manifests, settings: Settings) -> Gateway:
    """Load every function that has a route."""
    routes = routes_of(manifests)
    sources = {service.name: service.source for service in manifests.services}
    functions = {
        host: functions_framework.create_app(  # type: ignore[no-untyped-call]
            "main", f"{sources[host.split('.')[0]]}"
        )
        for host in {route.host for route in routes}
    }
    base_url = runtime.current().settings.http.public_base_url or ""
    if settings.eventing_port:
        runtime.current().health.watch("events", partial(event_report.check, settings.eventing_port, TIMEOUT_SECONDS))
    allowed = {urlsplit(base_url).hostname or "", *settings.allowed_hosts}
    after_change = partial(_purge, settings.purges_url) if settings.purges_url else lambda: None
    return Gateway(routes, functions, KnownHosts(allowed), after_change)


def _purge(url: str) -> None:
    """Have caches forget now what was deleted or changed. If that fails, reconciliation does it within a minute."""
    with suppress(urllib3.exceptions.HTTPError):
        urllib3.request("POST", url, timeout=PURGE_SECONDS, retries=False)


def restore_client(application: "WSGIApplication", token: str) -> "WSGIApplication":
    """Take from nginx who the client is, and which address it reached. Nobody else knows the token."""

    def serve(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        given, *addresses = environ.pop("HTTP_X_EDGE", "").split(" ")
        if compare_digest(given.encode(), token.encode()):
            environ["REMOTE_ADDR"], environ["SERVER_NAME"] = addresses
        return application(environ, start_response)

    return serve


def main() -> None:
    settings = Settings.from_environment()
    manifests = Manifests.read(ROOT / "infra/k8s/routes", ROOT / "infra/knative")
    gateway = create_app(manifests, settings)
    threads = {
        service.name: max(MIN_THREADS, int(service.environ.get("THREADS", DEFAULT_THREADS)))
        for service in manifests.services
    }
    hosts = {route.host for route in routes_of(manifests)}
    limiters = {host: Limiter(threads[host.split(".")[0]]) for host in hosts}
    others = Limiter(DEFAULT_THREADS)  # for requests without a route

    def select(scope: "HTTPScope") -> Limiter:
        headers = (value for name, value in scope["headers"] if name == b"host")
        root = find_root(next(headers, b"").decode("latin-1"))
        host = gateway.select(scope["method"], root + _path_of(scope["raw_path"].decode("latin-1")))
        return limiters[host] if host else others

    application = server.answer_probes(gateway, scrapes=choose_scrapers(settings))
    if settings.edge_token:
        application = restore_client(application, settings.edge_token)
    server.run(application, select, (*limiters.values(), others))


if __name__ == "__main__":
    main()
