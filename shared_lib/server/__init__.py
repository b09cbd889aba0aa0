"""Serve a function in its container: functions-framework's application behind uvicorn, in one process.

The application has THREADS threads. They share connections and memory, and Knative adds pods where another server would
add workers. Slow clients occupy no thread: see `application.py` and `connection.py`. Requests beyond what the threads
can do soon are refused: see `limiter.py`.

A function that doesn't load, or lacks settings, ends the container, and the reason is the last line of its log. So the
platforms' probes only need to know that the process responds, and whether its release can work with the database's
tables. Whether database, store and broker are there is not their question: new pods would not bring those back.
`/api/health` checks them.
"""

import ctypes
import gc
import logging
import resource
import signal
import socket
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import functions_framework
import uvicorn

from shared_lib import exposition, runtime
from shared_lib.addresses import is_loopback
from shared_lib.server.application import Application, LimiterOf
from shared_lib.server.connection import IDLE_SECONDS, MAX_WAITING, Connection
from shared_lib.server.errors import MAX_HEAD
from shared_lib.server.exhaustion import AcceptFailures
from shared_lib.server.limiter import Limiter
from shared_lib.settings import FORM_OVERHEAD, InvalidSettings, Serving, Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from flask import Flask

SWITCH_SECONDS = 0.0005  # after which a thread lets another one run. Python's 5 ms, times the threads, delay refusals
HEALTH, READY = PROBES = ("/_/health", "/_/ready")  # OpenFaaS probes these, and our manifests tell Knative to
METRICS = "/_/metrics"
MAX_BACKLOG = 2048  # connections that the kernel accepts before the process does
MIN_BODY_LIMIT = 2 * 1024 * 1024  # bytes: more than any JSON that is accepted


def serve_function() -> None:
    """Serve the function that FUNCTION_SOURCE names.

    One for events refuses none: their source limits how many are in flight, and a refusal would use up a retry.
    """
    function = _load_function()
    limiter = Limiter(Serving.read().threads, shed="cloudevent" not in function.view_functions)
    probes = Limiter(1)  # of its own, so that a busy function still passes
    own = (*PROBES, METRICS)
    run(answer_probes(function), lambda scope: probes if scope["path"] in own else limiter, (limiter, probes))


def create_app() -> "WSGIApplication":
    return answer_probes(_load_function())


def _load_function() -> "Flask":
    runtime.current().schema.begin()  # the settings are valid; the database answers while the function is loaded
    function: Flask = functions_framework.create_app()  # type: ignore[no-untyped-call]
    return function


def is_direct(environ: "WSGIEnvironment") -> bool:
    """Return whether a request came by no gateway: what comes through one, or through Knative, has X-Forwarded-For."""
    return "HTTP_X_FORWARDED_FOR" not in environ


def answer_probes(
    application: "WSGIApplication", *, scrapes: Callable[["WSGIEnvironment"], bool] = is_direct
) -> "WSGIApplication":
    """Answer the platforms' probes, and scrapes of what this process has counted, if they are permitted.

    By default it exposes its metrics only to who reaches the container itself.
    """

    def serve(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if environ["PATH_INFO"] not in PROBES:
            return application(environ, start_response)
        if environ["PATH_INFO"] == READY and not runtime.current().schema.is_reached():
            return _report_old_tables(start_response)
        return _report_state(start_response)

    return _expose_metrics(serve, scrapes)


def _expose_metrics(
    application: "WSGIApplication", is_permitted: Callable[["WSGIEnvironment"], bool]
) -> "WSGIApplication":
    def serve(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if environ["PATH_INFO"] != METRICS or not is_permitted(environ):
            return application(environ, start_response)
        start_response("200 OK", [("Content-Type", exposition.CONTENT_TYPE)])
        return [exposition.write_counted()]

    return serve


def _report_state(start_response: "StartResponse") -> Iterable[bytes]:
    """Respond to a probe. Name the protections that the sandbox lacks, if an operator allowed that."""
    missing = runtime.current().missing_confinement
    if not missing:
        start_response("204 No Content", [])
        return []
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"Decoding without {' and '.join(missing)}, as PROCESSING_SANDBOX allows\n".encode()]


def _report_old_tables(start_response: "StartResponse") -> Iterable[bytes]:
    start_response("503 Service Unavailable", [("Content-Type", "text/plain")])
    return [b"The database's tables are older than this release: run its bootstrap\n"]


def run(application: "WSGIApplication", limiter_of: LimiterOf, limiters: Iterable[Limiter]) -> None:
    """Serve until told to stop. Then finish current requests, for up to GRACEFUL_SECONDS.

    `limiter_of` selects the limiter of a request. There are as many threads as all `limiters` together allow.
    """
    serving = Serving.read()
    threads = sum(limiter.threads for limiter in limiters)
    _check_exposure(serving, runtime.current().settings)
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.freeze()  # no later collection looks at what is loaded
    gc.enable()
    _fix_malloc()
    _allow_connections()
    logging.getLogger("asyncio").addFilter(AcceptFailures())
    max_body = max(runtime.current().settings.processing.max_upload_bytes + FORM_OVERHEAD, MIN_BODY_LIMIT)
    config = uvicorn.Config(
        Application(application, limiter_of=limiter_of, threads=threads, max_body=max_body),
        host=serving.host,
        port=serving.port,
        http=Connection,
        ws="none",
        loop="asyncio",
        lifespan="off",
        proxy_headers=False,
        server_header=False,
        access_log=False,  # the functions log requests
        log_config=None,
        log_level="critical",
        backlog=MAX_BACKLOG,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=serving.graceful_seconds,
        h11_max_incomplete_event_size=MAX_HEAD,
    )
    listening = _listen(serving)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _exit)  # uvicorn raises it again when it has finished
    uvicorn.Server(config).run([listening])


def _listen(serving: Serving) -> socket.socket:
    """Raise InvalidSettings if that is not possible. uvicorn would end without a word."""
    family = socket.AF_INET6 if ":" in serving.host else socket.AF_INET
    try:
        listening = socket.create_server((serving.host, serving.port), family=family, backlog=MAX_BACKLOG)
    except OSError as error:
        raise InvalidSettings(f"Cannot listen on HOST={serving.host} PORT={serving.port}: {error.strerror}") from error
    # Connections inherit it. asyncio sets it only for sockets of its own. Without it a body waits for the client to
    # confirm the headers, which takes 40 ms.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def _check_exposure(serving: Serving, settings: Settings) -> None:
    """Raise InvalidSettings if callers without credentials may do everything, and may come from other machines."""
    public = urlsplit(settings.http.public_base_url or "").hostname or serving.host
    if settings.auth.mode == "anonymous" and not (is_loopback(serving.host) or is_loopback(public)):
        raise InvalidSettings(
            f"AUTH_MODE=anonymous is only for one machine, and this server listens on {serving.host}. Set "
            "AUTH_MODE=required, or HOST or HTTP_PUBLIC_BASE_URL to an address that only this machine reaches"
        )


def _exit(_number: int, _frame: object) -> None:
    sys.exit(0)


def _allow_connections() -> None:
    """Raise the limit on descriptors: two for each waiting connection and its body's file, and some for the rest."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * MAX_WAITING + 1024
    if hard != resource.RLIM_INFINITY:
        wanted = min(hard, wanted)
    if soft != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def _fix_malloc() -> None:
    """Fix glibc's thresholds. Otherwise it raises them after the first large object, and memory fragments: mallopt(3).

    Measured with 2,720 images, 120 of them of up to 40 MB: the processor stays at 121 MiB, instead of growing to 235.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        for parameter in (-1, -3):  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
            libc.mallopt(parameter, 1_000_000)
