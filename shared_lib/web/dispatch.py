"""Serve an endpoint: match the path, authorize, read the inputs, call the handler, render its result.

Only this package and `consumer` know Flask. Every error becomes JSON in the endpoint's declared shape.
"""

import functools
import inspect
import io
import itertools
import re
import time
import uuid
from collections.abc import Callable
from typing import Any, Protocol

import flask
from werkzeug.exceptions import HTTPException

from shared_lib import metrics, observability, runtime, tracing
from shared_lib.database.connection import acting_for
from shared_lib.domain.audit import Actor
from shared_lib.errors import ServiceError, Unavailable, look_up
from shared_lib.repositories.audit import acting_as
from shared_lib.web.access import authorize, read_address
from shared_lib.web.endpoint import Cache, Endpoint
from shared_lib.web.errors import STATUS, advise_retry, render_error
from shared_lib.web.paths import allowed_methods, match_path, matches, reject_method
from shared_lib.web.rates import count_request, describe_rates
from shared_lib.web.requests import read_inputs
from shared_lib.web.responses import add_common_headers, render

log = observability.get_logger()

_LASTING = frozenset({400, 403, 404, 422})  # statuses that the same request gets again

PROBES_PER_LINE = 100
_probes = itertools.count(1)

_REQUEST_ID = re.compile(r"[\w.-]{1,128}", re.ASCII)


class HttpFunction(Protocol):
    """A function as functions-framework calls it."""

    endpoint: Endpoint

    def __call__(self, request: flask.Request) -> flask.Response: ...


def serve(endpoint: Endpoint) -> Callable[[Callable[..., Any]], HttpFunction]:
    """Make `handler(rt, **inputs)` callable by functions-framework.

    Raises TypeError if the handler doesn't take exactly the inputs that the endpoint declares.
    """

    def decorate(handler: Callable[..., Any]) -> HttpFunction:
        for path in endpoint.route.paths:
            inspect.signature(handler).bind(None, **dict.fromkeys(endpoint.inputs.arguments(path)))

        @functools.wraps(handler)  # functions-framework registers it by __name__
        def function(request: flask.Request) -> flask.Response:
            return _respond(request, endpoint, lambda rt: _call(rt, request, handler, endpoint))

        function.endpoint = endpoint  # type: ignore[attr-defined]
        if flask.has_app_context():
            _register_error_handlers(flask.current_app, endpoint, function)
        return function  # type: ignore[return-value]

    return decorate


def _register_error_handlers(
    app: flask.Flask, endpoint: Endpoint, function: Callable[[flask.Request], flask.Response]
) -> None:
    """Render errors that don't pass through the function as JSON, too.

    functions-framework loads the module inside its app's context. Its catch-all route doesn't match every path, such as
    one with a line break, or /favicon.ico. The function answers those like all others.
    """
    app.register_error_handler(404, lambda _error: function(flask.request))
    app.register_error_handler(
        HTTPException,
        lambda error: _respond(flask.request, endpoint, lambda _rt: _render_http_error(error, endpoint)),
    )
    app.register_error_handler(
        Exception, lambda error: _respond(flask.request, endpoint, lambda _rt: _render_unexpected(error, endpoint))
    )


def _respond(
    request: flask.Request, endpoint: Endpoint, make_response: Callable[[runtime.Runtime], flask.Response]
) -> flask.Response:
    """Make the response inside the request's log context, log it, and add the headers that all responses carry."""
    rt = runtime.current()
    given = request.headers.get("X-Request-Id", "")
    request_id = given if _REQUEST_ID.fullmatch(given) else str(uuid.uuid4())
    flask.g.request_id = request_id
    started = time.perf_counter()
    attributes = {"http.request.method": request.method, "http.route": endpoint.route.paths[0]}
    name = f"{endpoint.route.method} {endpoint.route.paths[0]}"
    with (
        tracing.trace(name, "server", request.headers.get("traceparent"), attributes) as note,
        observability.context(function=endpoint.name, request=request_id),
    ):
        response = make_response(rt)
        note({"http.response.status_code": response.status_code})
        response.headers["X-Trace-Id"] = tracing.name_trace(tracing.current())
        request.stream = io.BytesIO()  # or functions-framework reads the rest of the body into memory
        seconds = time.perf_counter() - started
        metrics.REQUESTS.observe(seconds, metrics.Request.of(endpoint.name, request.method, response.status_code))
        _log_request(request, endpoint, response.status_code, seconds)
    response.headers.update(describe_rates())
    is_shared = endpoint.cache is Cache.BY_URL and request.method in endpoint.route.served_methods
    return add_common_headers(request, response, request_id, rt.settings.http, is_shared=is_shared)


def _log_request(request: flask.Request, endpoint: Endpoint, status: int, seconds: float) -> None:
    """Of successful probes, one in PROBES_PER_LINE is written: they come every few seconds and say nothing new."""
    more = {}
    write = log.info
    if endpoint.is_probe and status == 200:
        if next(_probes) % PROBES_PER_LINE:
            write = log.debug
        else:
            more["sampled"] = PROBES_PER_LINE
    write(
        "request",
        method=request.method,
        path=_hide_permission(request, endpoint),
        status=status,
        ms=round(seconds * 1000, 1),
        **more,
    )


def _hide_permission(request: flask.Request, endpoint: Endpoint) -> str:
    """Return the path without a delivery's signature or token, and the query of a foreign image.

    Whoever has them may use them. A path that is none of the endpoint's may be a delivery's with a slash too many, so
    only its first part is told.
    """
    prefix, _, rest = request.path.lstrip("/").partition("/")
    if not matches(request, endpoint):
        return f"/{prefix}/***" if rest else request.path
    if not endpoint.inputs.sent_path:
        return request.path
    shown = re.split(r"\?|%3f", rest.lstrip("/").partition("/")[2], maxsplit=1, flags=re.IGNORECASE)[0]
    return f"/{prefix}/***/{shown}"


def _call(
    rt: runtime.Runtime, request: flask.Request, handler: Callable[..., Any], endpoint: Endpoint
) -> flask.Response:
    http = rt.settings.http
    try:
        path, arguments = match_path(request, endpoint)
        if request.method == "OPTIONS":
            return _list_methods(path, endpoint)
        if request.method not in endpoint.route.served_methods:
            return _reject_method(request.method, path, endpoint)
        principal = authorize(request, endpoint, rt)
        actor = Actor(principal.name, read_address(request, http), flask.g.request_id)
        with acting_for(principal.tenant), acting_as(actor):
            count_request(rt, principal, endpoint)
            inputs = read_inputs(request, endpoint, arguments, rt.settings.processing.max_upload_bytes)
            if endpoint.inputs.principal:
                inputs["principal"] = principal
            return render(request, handler(rt, **inputs), endpoint, http)
    except ServiceError as error:
        if isinstance(error, Unavailable):
            observability.log_failure(log, "request_not_served", error)
        return _render_named(error, endpoint)
    except HTTPException as error:
        return _render_http_error(error, endpoint)
    except Exception as error:  # noqa: BLE001  it is logged
        return _render_unexpected(error, endpoint)


def _render_named(error: ServiceError, endpoint: Endpoint) -> flask.Response:
    if endpoint.errors.word:
        log.info("request_refused", code=error.code, reason=error.public)  # which the text doesn't say
        status, text = endpoint.errors.word(error)
        return flask.Response(text, status, advise_retry(status, error), mimetype="text/plain")
    response = render_error(look_up(STATUS, error, 500), error, endpoint.errors.body)
    if endpoint.errors.varies_by:
        response.vary.add(endpoint.errors.varies_by)
    # Without X-Accel-Expires: strangers can have any number of URLs refused, and must not fill the edge's cache.
    if endpoint.errors.seconds and response.status_code in _LASTING and error.retry_after is None:
        response.headers["Cache-Control"] = f"public, max-age={endpoint.errors.seconds}"
    return response


def _list_methods(path: str, endpoint: Endpoint) -> flask.Response:
    response = flask.Response(status=204, headers={"Allow": allowed_methods(path, endpoint)})
    del response.headers["Content-Type"]  # there is no content
    return response


def _reject_method(method: str, path: str, endpoint: Endpoint) -> flask.Response:
    response = render_error(405, reject_method(method, path, endpoint), endpoint.errors.body)
    response.headers["Allow"] = allowed_methods(path, endpoint)
    return response


def _render_http_error(error: HTTPException, endpoint: Endpoint) -> flask.Response:
    named = ServiceError(error.description or error.name, code=error.name.lower().replace(" ", "_"))
    response = render_error(error.code or 500, named, endpoint.errors.body)
    for name, value in error.get_headers():
        if name == "Content-Range":  # a 416 says how many bytes there are
            response.headers[name] = value
    return response


def _render_unexpected(error: Exception, endpoint: Endpoint) -> flask.Response:
    log.error("request_failed", exc_info=error)
    return _render_named(ServiceError(), endpoint)
