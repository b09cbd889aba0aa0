"""Settings determine the security headers that browsers obey."""

import flask
import pytest

from shared_lib.settings import Http
from shared_lib.web.responses import add_common_headers

APP = flask.Flask(__name__)
FOREIGN = {"Origin": "https://app.example"}


def respond(http: Http, headers: dict[str, str], *, is_shared: bool = False) -> flask.Response:
    with APP.test_request_context("/", headers=headers):
        return add_common_headers(flask.request, flask.Response(), "1", http, is_shared=is_shared)


@pytest.mark.parametrize(
    ("base_url", "expected"),
    [("https://images.example", "max-age=31536000"), ("http://images.example", None), (None, None)],
)
def test_an_api_with_tls_sends_strict_transport_security(base_url: str | None, expected: str | None) -> None:
    assert respond(Http(public_base_url=base_url), {}).headers.get("Strict-Transport-Security") == expected


def test_a_response_that_depends_on_the_origin_always_varies_by_it() -> None:
    assert respond(Http(cors_allow_origins=("https://app.example",)), {}).headers["Vary"] == "Origin"


def test_a_copy_that_an_img_fetched_without_origin_is_good_for_a_script_where_any_origin_is_allowed() -> None:
    plain, with_origin = (respond(Http(cors_allow_origins=("*",)), each).headers for each in ({}, FOREIGN))

    assert plain == with_origin
    assert plain["Access-Control-Allow-Origin"] == "*"
    assert "Vary" not in plain


def test_a_shared_response_lists_the_origins_for_the_edge_and_differs_by_them_in_one_header() -> None:
    http = Http(cors_allow_origins=("https://app.example", "https://b.example"))
    plain, with_origin = (respond(http, each, is_shared=True).headers for each in ({}, FOREIGN))

    assert plain["X-Accel-Origins"] == "https://app.example,https://b.example"
    assert plain["Vary"] == "Origin"
    assert with_origin.pop("Access-Control-Allow-Origin") == "https://app.example"
    assert plain == with_origin


def test_any_origin_can_be_allowed_but_never_with_credentials() -> None:
    headers = respond(Http(cors_allow_origins=("*",)), FOREIGN).headers

    assert headers["Access-Control-Allow-Origin"] == "*"
    assert "ETag" in headers["Access-Control-Expose-Headers"].split(", ")
    assert "Access-Control-Allow-Credentials" not in headers


def test_by_default_no_other_origin_is_allowed() -> None:
    assert not [name for name, _ in respond(Http(), FOREIGN).headers if name.startswith("Access-Control")]
