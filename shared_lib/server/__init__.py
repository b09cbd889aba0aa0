"""A function as its container serves it: functions-framework's application behind uvicorn, in one process.

The application's threads answer the Service's containerConcurrency: they share connections and memory, and Knative
adds pods where another server would add workers. Slow clients cost no thread: `application.py` and `connection.py`.

A function that does not load, or whose settings are not whole, ends the container with the reason as its last words.
The probes that platforms send therefore need to say no more than that the process answers. They ask no database,
store or broker: new pods in place of these would not bring those back. `/api/health` tells of them.
"""

import ctypes
import resource
import signal
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

import functions_framework
import uvicorn

from shared_lib import runtime
from shared_lib.server.application import Application
from shared_lib.server.connection import IDLE_SECONDS, MAX_WAITING, Connection
from shared_lib.server.refusals import MAX_HEAD
from shared_lib.settings import FORM_OVERHEAD, Serving

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

PROBES = ("/_/health", "/_/ready")  # where OpenFaaS looks; Knative is told to look there too
LEAST_MAX_BODY = 2 * 1024 * 1024  # bytes; more than any JSON that is taken


def create_app() -> "WSGIApplication":
    runtime.current()  # which connects nothing yet
    function: WSGIApplication = functions_framework.create_app()  # type: ignore[no-untyped-call]

    def serve(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if environ["PATH_INFO"] not in PROBES:
            return function(environ, start_response)
        return _tell_state(start_response)

    return serve


def _tell_state(start_response: "StartResponse") -> Iterable[bytes]:
    """That it is there; and what a decoder does without, where an operator has allowed that."""
    missing = runtime.current().sandbox.missing
    if not missing:
        start_response("204 No Content", [])
        return []
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"Decoding without {' and '.join(missing)}, as PROCESSING_SANDBOX allows\n".encode()]


def run(application: "WSGIApplication") -> None:
    """Serve until asked to stop; then finish what is being answered, for as long as GRACEFUL_SECONDS."""
    told = Serving()
    _fix_malloc()
    _allow_connections()
    max_body = max(runtime.current().settings.processing.max_upload_bytes + FORM_OVERHEAD, LEAST_MAX_BODY)
    config = uvicorn.Config(
        Application(application, threads=told.threads, max_body=max_body),
        host=told.host,
        port=told.port,
        http=Connection,
        ws="none",
        loop="asyncio",
        lifespan="off",
        proxy_headers=False,
        server_header=False,
        access_log=False,  # the functions say what happens
        log_config=None,
        log_level="critical",
        backlog=2048,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=told.graceful_seconds,
        h11_max_incomplete_event_size=MAX_HEAD,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)  # uvicorn raises it again once it is through
    uvicorn.Server(config).run()


def _leave(_number: int, _frame: object) -> None:
    sys.exit(0)


def _allow_connections() -> None:
    """As many descriptors as connections may wait, each with a file for its body, and some for everything else."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * MAX_WAITING + 1024
    if hard != resource.RLIM_INFINITY:
        wanted = min(hard, wanted)
    if soft != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def _fix_malloc() -> None:
    """
    Fix glibc's thresholds, or it raises them after the first large object and keeps memory in pieces: mallopt(3).

    Measured on 2,720 images, 120 of them of up to 40 MB: the processor stays at 121 MiB, where it grew to 235.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        for parameter in (-1, -3):  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
            libc.mallopt(parameter, 1_000_000)
