"""Access is decided in one place, before any input is read, and the handler receives the caller."""

import flask
import pytest

from shared_lib import web
from shared_lib.domain.principals import Principal
from shared_lib.runtime import Runtime
from shared_lib.web.dispatch import HttpFunction


def _make_endpoint(error_body: type[web.ImageError | web.CollectionErrors]) -> HttpFunction:
    @web.serve(
        web.Endpoint(
            name="greet",
            route=web.Route("GET", "/greetings/{count}"),
            docs=web.Docs(tag="service", summary=""),
            inputs=web.Inputs(path={"count": int}, principal=True),
            success=web.Success(str),
            errors=web.Errors(error_body),
            needs="keys:manage",
        )
    )
    def greet(_rt: Runtime, *, count: int, principal: Principal) -> str:
        return f"{count} times hello, {principal.name} of {principal.tenant}"

    return greet


def _get(function: HttpFunction, path: str, **headers: str) -> flask.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with flask.Flask(__name__).test_request_context(path, headers=named):
        return function(flask.request)


def test_the_handler_receives_the_anonymous_caller_of_a_private_machine(rt: Runtime) -> None:
    response = _get(_make_endpoint(web.ImageError), "/greetings/3")

    assert response.status_code == 200
    assert response.json == "3 times hello, anonymous of default"


@pytest.mark.parametrize("headers", [{"X_API_Key": "wrong"}, {"Authorization": "Bearer wrong"}])
def test_wrong_credentials_are_refused_even_where_none_are_needed(rt: Runtime, headers: dict[str, str]) -> None:
    assert _get(_make_endpoint(web.ImageError), "/greetings/3", **headers).status_code == 401


def test_a_rejected_caller_gets_the_endpoints_own_error_even_if_the_inputs_are_invalid(rt: Runtime) -> None:
    images = _get(_make_endpoint(web.ImageError), "/greetings/many", X_API_Key="wrong")
    collections = _get(_make_endpoint(web.CollectionErrors), "/greetings/many", X_API_Key="wrong")

    assert images.status_code == collections.status_code == 401
    assert images.json == {"error": "The API key is not accepted", "code": "credentials_refused"}
    assert collections.json == {"errors": [{"title": "The API key is not accepted", "code": "credentials_refused"}]}
