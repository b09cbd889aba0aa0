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
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, get_type_hints

import flask
from werkzeug.exceptions import HTTPException

from shared_lib import observability, runtime
from shared_lib.errors import Invalid, ServiceError, Unavailable, Unsupported, look_up
from shared_lib.settings import Processing
from shared_lib.web import openapi
from shared_lib.web.errors import STATUS, CollectionErrors, ImageError, refuse
from shared_lib.web.openapi import Declaration, ErrorBody
from shared_lib.web.origins import check_page
from shared_lib.web.requests import body_too_large, file_too_large, match, not_json, read_inputs
from shared_lib.web.responses import dress, render

log = observability.get_logger()

_REQUEST_ID = re.compile(r"[\w.-]{1,128}", re.ASCII)


def endpoint(  # noqa: PLR0913  each is one thing that OpenAPI needs to be told
    method: str,
    *paths: str,
    returns: Any = None,  # noqa: ANN401  any type annotation
    status: int = 200,
    example: Any = None,  # noqa: ANN401  any JSON
    refusals: Iterable[ServiceError] = (),
    errors: type[ErrorBody] | None = None,
    headers: Mapping[str, str] | None = None,
    documented: bool = True,
) -> Callable[[Callable[..., Any]], Callable[[flask.Request], flask.Response]]:
    """
    Make `handler(rt, **inputs)` callable by functions-framework, and declare it for OpenAPI.

    `example` is a success, where the examples of the fields that it returns do not make a true one. `refusals` are
    what the handler itself may answer, one of each status; what follows from its inputs and from the service's own
    state is added here.
    """

    def decorate(handler: Callable[..., Any]) -> Callable[[flask.Request], flask.Response]:
        declared = _declare(handler, method, paths)
        shape = errors or (CollectionErrors if declared["tag"] == "collections" else ImageError)
        declaration = Declaration(
            **declared,
            status=status,
            returns=returns,
            example=example,
            errors=shape,
            refusals=_implied(declared) | {look_up(STATUS, each, 500): each for each in refusals},
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
            flask.current_app.register_error_handler(
                Exception, lambda error: _serve(flask.request, declaration, lambda _rt: _fail(error, declaration))
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
        "summary": _begin_with_capital(first.partition(": ")[2].rstrip(".")),
        "description": rest.strip(),
        "tag": place if place in ("images", "collections") else "service",
        "path_parameters": {name: hints[name] for name in names if f"{{{name}}}" in "".join(paths)},
        "takes_path": "path" in names,
        **{name: hints[name] for name in names if name in ("query", "body", "form")},
    }


def _begin_with_capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _implied(declared: dict[str, Any]) -> dict[int, ServiceError]:
    implied: dict[int, ServiceError] = {503: Unavailable("The database is out of reach")}
    taken = declared.get("query") or declared.get("body")
    if "uuid" in declared["path_parameters"]:
        implied[400] = _invalid("uuid", "Input should be a valid UUID, invalid character: found `x` at 0")
    elif taken is not None:
        required = [field.alias or name for name, field in taken.model_fields.items() if field.is_required()]
        implied[400] = (
            _invalid(required[0], "Field required")
            if required
            else _invalid("page", "Input should be greater than or equal to 1")
        )
    if "query" in declared:
        implied[414] = ServiceError(  # as the server says it
            "Path and query together are too long (max 8192 bytes)", code="uri_too_long"
        )
    if "body" in declared:
        implied |= {413: body_too_large(), 415: not_json()}
    if "form" in declared:
        implied |= {
            413: file_too_large(Processing.model_fields["max_upload_bytes"].default),
            415: Unsupported("Only image files are allowed", code="not_an_image"),
        }
    return implied


def _invalid(parameter: str, message: str) -> Invalid:
    return Invalid(f"{parameter}: {message}", details=[{"parameter": parameter, "message": message}])


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
        is_probe = declaration.name == "get_health" and response.status_code == 200
        (log.debug if is_probe else log.info)(
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
        if declaration.returns is not bytes:  # any page may show pictures
            check_page(request, rt.settings.http)
        inputs = read_inputs(request, declaration, arguments, rt.settings.processing.max_upload_bytes)
        return render(request, handler(rt, **inputs), declaration, rt.settings.http)
    except ServiceError as error:
        if isinstance(error, Unavailable):
            observability.log_failure(log, "request_not_served", error)
        return refuse(look_up(STATUS, error, 500), error, declaration.errors)
    except HTTPException as error:
        return _refuse_http(error, declaration)
    except Exception as error:  # noqa: BLE001  it is logged
        return _fail(error, declaration)


def _tell_methods(path: str, declaration: Declaration) -> flask.Response:
    response = flask.Response(
        status=204, headers={"Allow": ", ".join(openapi.allowed_methods(path, declaration.method))}
    )
    del response.headers["Content-Type"]  # of nothing
    return response


def _fail(error: Exception, declaration: Declaration) -> flask.Response:
    log.error("request_failed", exc_info=error)
    return refuse(500, ServiceError("Something went wrong on our side"), declaration.errors)


def _refuse_http(error: HTTPException, declaration: Declaration) -> flask.Response:
    named = ServiceError(error.description or error.name, code=error.name.lower().replace(" ", "_"))
    response = refuse(error.code or 500, named, declaration.errors)
    for name, value in error.get_headers():
        if name == "Content-Range":  # how many bytes there are
            response.headers[name] = value
    return response


def _refuse_method(path: str, declaration: Declaration) -> flask.Response:
    allowed = ", ".join(openapi.allowed_methods(path, declaration.method))
    response = refuse(
        405, ServiceError(f"{path} takes these methods: {allowed}", code="method_not_allowed"), declaration.errors
    )
    response.headers["Allow"] = allowed
    return response
