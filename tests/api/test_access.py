"""Access is decided in one place, before any input is read."""

import flask

from shared_lib import web
from shared_lib.errors import Forbidden
from shared_lib.runtime import Runtime
from shared_lib.web.access import Access, Principal
from shared_lib.web.dispatch import HttpFunction


def _read_token(request: flask.Request) -> Principal:
    if request.headers.get("Authorization") != "Bearer let-me-in":
        raise Forbidden("The token is missing or wrong", code="wrong_token")
    return Principal("alice")


def _make_endpoint(error_body: type[web.ImageError | web.CollectionErrors]) -> HttpFunction:
    @web.serve(
        web.Endpoint(
            name="greet",
            route=web.Route("GET", "/greetings/{count}"),
            docs=web.Docs(tag="service", summary=""),
            inputs=web.Inputs(path={"count": int}, principal=True),
            success=web.Success(str),
            errors=web.Errors(error_body),
            access=Access(_read_token),
        )
    )
    def greet(_rt: Runtime, *, count: int, principal: Principal) -> str:
        return f"{count} times hello, {principal.name}"

    return greet


def _get(function: HttpFunction, path: str, **headers: str) -> flask.Response:
    with flask.Flask(__name__).test_request_context(path, headers=headers):
        return function(flask.request)


def test_the_handler_receives_the_caller_whom_the_declared_access_identified(rt: Runtime) -> None:
    response = _get(_make_endpoint(web.ImageError), "/greetings/3", Authorization="Bearer let-me-in")

    assert response.status_code == 200
    assert response.json == "3 times hello, alice"


def test_a_rejected_caller_gets_the_endpoints_own_error_even_if_the_inputs_are_invalid(rt: Runtime) -> None:
    images = _get(_make_endpoint(web.ImageError), "/greetings/many")
    collections = _get(_make_endpoint(web.CollectionErrors), "/greetings/many")

    assert images.status_code == collections.status_code == 403
    assert images.json == {"error": "The token is missing or wrong", "code": "wrong_token"}
    assert collections.json == {"errors": [{"title": "The token is missing or wrong", "code": "wrong_token"}]}
