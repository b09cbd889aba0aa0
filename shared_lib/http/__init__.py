"""The edge that callers see: route, parse, call, render; and kinds of error → status. Only this room knows Flask.

A function's `main` gets a Runtime and its inputs, checked, by the names in its signature: path parameters by their
own, and `query`, `body`, `form` as models, `file` as the uploaded part.
"""

import functools
import inspect
import io
import re
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_type_hints

import flask
from werkzeug.exceptions import HTTPException

from shared_lib import observability, openapi, runtime
from shared_lib.errors import ServiceError, Unavailable, look_up
from shared_lib.http.inputs import UploadedFile, match, read_inputs
from shared_lib.http.refusals import (
    STATUS,
    CollectionErrors,
    ImageError,
    ProcessingError,
    refuse,
)
from shared_lib.http.replies import Content, Reply, dress, render
from shared_lib.openapi import Declaration, ErrorBody

__all__ = ["Content", "ProcessingError", "Reply", "UploadedFile", "endpoint"]

log = observability.get_logger()

_REQUEST_ID = re.compile(r"[\w.-]{1,128}", re.ASCII)


def endpoint(  # noqa: PLR0913  each is one thing that OpenAPI needs to be told
    method: str,
    *paths: str,
    returns: Any = None,  # noqa: ANN401  any type annotation
    status: int = 200,
    refusals: Mapping[int, str] | None = None,
    errors: type[ErrorBody] | None = None,
    headers: Mapping[str, str] | None = None,
    documented: bool = True,
) -> Callable[[Callable[..., Any]], Callable[[flask.Request], flask.Response]]:
    """
    Make `handler(rt, **inputs)` callable by functions-framework, and declare it for OpenAPI.

    `refusals` names the statuses the handler itself may answer, with an example sentence each; what follows from
    its inputs and from the service's own state is added here.
    """

    def decorate(handler: Callable[..., Any]) -> Callable[[flask.Request], flask.Response]:
        declared = _declare(handler, method, paths)
        shape = errors or (CollectionErrors if declared["tag"] == "collections" else ImageError)
        declaration = Declaration(
            **declared,
            status=status,
            returns=returns,
            errors=shape,
            refusals=_implied(declared) | dict(refusals or {}),
            headers=dict(headers or {}),
            documented=documented,
        )

        @functools.wraps(handler)  # functions-framework finds and registers us by __name__
        def edge(request: flask.Request) -> flask.Response:
            return _serve(request, declaration, lambda rt: _answer(rt, request, handler, declaration))

        edge.declaration = declaration  # type: ignore[attr-defined]
        if flask.has_app_context():
            # functions-framework runs the module inside its app's context. What its catch-all route does not catch
            # (a path with a line break, /favicon.ico) would be answered by Flask, as a page.
            flask.current_app.register_error_handler(
                HTTPException,
                lambda error: _serve(flask.request, declaration, lambda _rt: _refuse_http(error, declaration)),
            )
        return edge

    return decorate


def _declare(handler: Callable[..., Any], method: str, paths: tuple[str, ...]) -> dict[str, Any]:
    """What the signature and the module's docstring already say."""
    about = inspect.cleandoc(handler.__globals__["__doc__"])
    first, _, rest = about.partition("\n")
    hints = get_type_hints(handler, include_extras=True)
    names = list(inspect.signature(handler).parameters)[1:]
    place = paths[0].removeprefix("/api/v1/").split("/")[0]
    return {
        "name": Path(inspect.getfile(handler)).parent.name,
        "method": method,
        "paths": paths,
        "summary": first.partition(": ")[2].rstrip(".").capitalize(),
        "description": rest.strip(),
        "tag": place if place in ("images", "collections") else "service",
        "path_parameters": {name: hints[name] for name in names if f"{{{name}}}" in "".join(paths)},
        "takes_path": "path" in names,
        **{name: hints[name] for name in names if name in ("query", "body", "form")},
    }


def _implied(declared: dict[str, Any]) -> dict[int, str]:
    implied = {503: "Something the service stands on is out of reach"}
    if declared["path_parameters"] or {"query", "body", "form"} & declared.keys():
        implied[400] = "The input is not valid"
    if "query" in declared:
        implied[414] = "The query is too long"
    if {"body", "form"} & declared.keys():
        implied |= {413: "The body is too large", 415: "The body is of another type"}
    return implied


def _serve(
    request: flask.Request, declaration: Declaration, answer: Callable[[runtime.Runtime], flask.Response]
) -> flask.Response:
    rt = runtime.current()
    given = request.headers.get("X-Request-Id", "")
    request_id = given if _REQUEST_ID.fullmatch(given) else str(uuid.uuid4())
    started = time.perf_counter()
    fields = {"request": request_id, "function": declaration.name}
    with observability.context(traceparent=request.headers.get("traceparent"), **fields):
        response = answer(rt)
        request.stream = io.BytesIO()  # functions-framework reads what is left of a body into memory
        log.info(
            "request",
            method=request.method,
            path=request.path,
            status=response.status_code,
            ms=round((time.perf_counter() - started) * 1000, 1),
        )
    return dress(request, response, request_id, rt.settings.http)


def _answer(
    rt: runtime.Runtime, request: flask.Request, handler: Callable[..., Any], declaration: Declaration
) -> flask.Response:
    try:
        path, arguments = match(request, declaration)
        if request.method == "OPTIONS":
            return _tell_methods(path, declaration)
        if request.method != declaration.method and not (request.method == "HEAD" and declaration.method == "GET"):
            return _refuse_method(path, declaration)
        inputs = read_inputs(request, declaration, arguments, rt.settings.processing.max_upload_bytes)
        return render(request, handler(rt, **inputs), declaration, rt.settings.http)
    except ServiceError as error:
        if isinstance(error, Unavailable):
            observability.log_failure(log, "request_not_served", error)
        return refuse(look_up(STATUS, error, 500), error, declaration.errors)
    except HTTPException as error:
        return _refuse_http(error, declaration)
    except Exception:
        log.exception("request_failed")
        return refuse(500, ServiceError("Something went wrong on our side"), declaration.errors)


def _tell_methods(path: str, declaration: Declaration) -> flask.Response:
    response = flask.Response(
        status=204, headers={"Allow": ", ".join(openapi.allowed_methods(path, declaration.method))}
    )
    del response.headers["Content-Type"]  # of nothing
    return response


def _refuse_http(error: HTTPException, declaration: Declaration) -> flask.Response:
    named = ServiceError(error.description or error.name, code=error.name.lower().replace(" ", "_"))
    return refuse(error.code or 500, named, declaration.errors)


def _refuse_method(path: str, declaration: Declaration) -> flask.Response:
    allowed = ", ".join(openapi.allowed_methods(path, declaration.method))
    response = refuse(
        405, ServiceError(f"{path} takes these methods: {allowed}", code="method_not_allowed"), declaration.errors
    )
    response.headers["Allow"] = allowed
    return response
