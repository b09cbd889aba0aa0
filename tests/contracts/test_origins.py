"""What settings decide of the headers that browsers heed."""

import flask
import pytest

from shared_lib.settings import Http
from shared_lib.web.responses import add_common_headers

APP = flask.Flask(__name__)
FOREIGN = {"Origin": "https://app.example"}


def dressed(http: Http, headers: dict[str, str]) -> flask.Response:
    with APP.test_request_context("/", headers=headers):
        return add_common_headers(flask.request, flask.Response(), "1", http)


@pytest.mark.parametrize(
    ("base_url", "expected"),
    [("https://images.example", "max-age=31536000"), ("http://images.example", None), (None, None)],
)
def test_browsers_are_held_to_tls_where_the_api_has_it(base_url: str | None, expected: str | None) -> None:
    assert dressed(Http(public_base_url=base_url), {}).headers.get("Strict-Transport-Security") == expected


def test_an_answer_that_depends_on_the_origin_says_so_whoever_asks() -> None:
    assert dressed(Http(cors_allow_origins=("https://app.example",)), {}).headers["Vary"] == "Origin"


def test_everybody_may_read_if_the_operator_says_so_but_without_credentials() -> None:
    headers = dressed(Http(cors_allow_origins=("*",)), FOREIGN).headers

    assert headers["Access-Control-Allow-Origin"] == "*"
    assert "ETag" in headers["Access-Control-Expose-Headers"].split(", ")
    assert "Access-Control-Allow-Credentials" not in headers


def test_by_default_no_other_origin_may_read() -> None:
    assert not [name for name, _ in dressed(Http(), FOREIGN).headers if name.startswith("Access-Control")]
