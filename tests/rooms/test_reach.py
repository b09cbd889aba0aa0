"""What it takes to reach services that are managed elsewhere: encryption and credentials."""

import ssl
from typing import Any

import pytest

from shared_lib import settings
from shared_lib.database import parse_url
from shared_lib.errors import Unavailable

URL = "postgresql://us%40r:p%2Fw@db.example.com:6432/images"


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("", None), ("?sslmode=prefer", None), ("?sslmode=require", True), ("?sslmode=disable", False)],
)
def test_sslmode_means_what_it_means_to_libpq(mode: str, expected: object) -> None:
    assert parse_url(URL + mode) == {
        "user": "us@r",
        "password": "p/w",
        "database": "images",
        "host": "db.example.com",
        "port": 6432,
        "ssl_context": expected,
    }


@pytest.mark.parametrize(("mode", "checks_the_name"), [("verify-ca", False), ("verify-full", True)])
def test_a_verified_database_shows_a_certificate(mode: str, *, checks_the_name: bool) -> None:
    context = parse_url(f"{URL}?sslmode={mode}")["ssl_context"]

    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, checks_the_name)


def test_an_unknown_sslmode_is_not_taken_for_none() -> None:
    with pytest.raises(Unavailable, match="sslmode is one of"):
        parse_url(f"{URL}?sslmode=yes")


@pytest.mark.parametrize("given", [{}, {"sasl_username": "app"}, {"sasl_password": "secret"}])
def test_sasl_without_credentials_is_refused_before_anything_connects(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="KAFKA_SASL_USERNAME"):
        settings.Kafka(bootstrap_servers="kafka:9093", security_protocol="SASL_SSL", **given)
