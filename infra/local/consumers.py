"""Serve functions that take events on one port, each below a path: `python -m infra.local.consumers process-image`.

All of them, if none is named.

This replaces their pods. Each function is loaded as in its container, but all share one process, in which each has
threads of its own. So neither a long comparison nor a backlog of images delays another function's events.

If there is a cache on this machine, the gateway calls PURGES after each request that may have changed something.
"""

import sys
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

import functions_framework
from werkzeug.exceptions import NotFound
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from infra.local.edge import PURGES
from infra.local.hosts import choose_scrapers
from infra.local.manifests import ROOT, Manifests, Service
from infra.local.settings import Settings
from shared_lib import runtime, server
from shared_lib.server.limiter import Limiter

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from flask import Flask
    from uvicorn._types import HTTPScope


def purge(_environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    runtime.current().purging.run()
    start_response("204 No Content", [])
    return []


def load(service: Service) -> "WSGIApplication":
    function: Flask = functions_framework.create_app("main", f"{service.source}")  # type: ignore[no-untyped-call]

    def serve(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        # What is left of the path may be nothing, which Flask would redirect.
        return function(environ | {"PATH_INFO": environ["PATH_INFO"] or "/"}, start_response)

    return serve


def main(names: Collection[str]) -> None:
    found = [each for each in Manifests.read(ROOT / "infra/knative").services if each.takes_events]
    services = {f"/{each.name}": each for each in found if not names or each.name in names}
    applications = {PURGES: purge} | {path: load(service) for path, service in services.items()}
    functions = DispatcherMiddleware(NotFound(), applications)
    # No event is refused: its source limits how many are in flight, and a refusal would use up a retry.
    limiters = {path: Limiter(int(service.environ["THREADS"]), shed=False) for path, service in services.items()}
    limiters[PURGES] = Limiter(1, shed=False)
    others = Limiter(1)

    def select(scope: "HTTPScope") -> Limiter:
        return limiters.get("/" + scope["path"].split("/")[1], others)

    application = server.answer_probes(functions, scrapes=choose_scrapers(Settings.from_environment()))
    server.run(application, select, (*limiters.values(), others))


if __name__ == "__main__":
    main(sys.argv[1:])
