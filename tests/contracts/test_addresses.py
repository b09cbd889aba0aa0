"""Addresses, encryption and credentials of services that are managed elsewhere."""

import re
import ssl
from typing import Any

import pytest

from shared_lib import settings
from shared_lib.addresses import read_database_url
from shared_lib.database.sockets import choose_encryption
from shared_lib.settings import InvalidSettings

URL = "postgresql://us%40r:p%2Fw@db.example.com:6432/images"


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("", None), ("?sslmode=prefer", None), ("?sslmode=require", True), ("?sslmode=disable", False)],
)
def test_sslmode_means_what_it_means_to_libpq(mode: str, expected: object) -> None:
    address = read_database_url(URL + mode)

    assert (address.user, address.password, address.database) == ("us@r", "p/w", "images")
    assert (address.host, address.port) == ("db.example.com", 6432)
    assert choose_encryption(address) == expected


@pytest.mark.parametrize(("mode", "checks_the_name"), [("verify-ca", False), ("verify-full", True)])
def test_a_verified_database_has_to_present_a_certificate(mode: str, *, checks_the_name: bool) -> None:
    context = choose_encryption(read_database_url(f"{URL}?sslmode={mode}"))

    assert isinstance(context, ssl.SSLContext)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, checks_the_name)


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("DATABASE_URL", "mysql://u:secret@db/images", "must look like postgresql://"),
        ("DATABASE_URL", "postgresql://u:secret@db:port/images", "must look like postgresql://"),
        ("DATABASE_URL", "postgresql://u:secret@db", "must look like postgresql://"),
        ("DATABASE_URL", "postgresql://u:secret@db/images?sslmode=yes", "sslmode must be one of disable, prefer"),
        ("DATABASE_URL", "postgresql://u:secret@db/images?sslmode=verify-full&sslrootcert=/none", "no such file"),
        ("DATABASE_URL", f"postgresql://u:secret@db/images?sslrootcert={__file__}", "must name a PEM file"),
        ("S3_ENDPOINT_URL", "minio:9000", "must look like https://host"),
        ("S3_ENDPOINT_URL", "http://key:secret@minio:9000", "without credentials"),
        ("S3_PUBLIC_ENDPOINT_URL", "https://", "must look like https://host"),
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka:9092,", "must look like host:9092"),
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka://kafka:9092", "must look like host:9092"),
        ("KAFKA_CA_FILE", "/none", "no such file"),
        ("HTTP_PUBLIC_BASE_URL", "images.example.com", "must look like https://host"),
        ("AUTH_ISSUERS", "https://secret.example.com", "AUTH_ISSUERS: must be JSON (Expecting value: line 1 column 1"),
    ],
)
def test_an_invalid_setting_is_reported_at_the_start_without_its_secrets(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, sentence: str
) -> None:
    complete = {
        "DATABASE_URL": "postgresql://us:secret@db/images",
        "S3_ENDPOINT_URL": "http://minio:9000",
        "S3_ACCESS_KEY_ID": "key",
        "S3_SECRET_ACCESS_KEY": "secret",
        "KAFKA_BOOTSTRAP_SERVERS": "kafka:9092,other",
    }
    for name, given in (complete | {variable: value}).items():
        monkeypatch.setenv(name, given)

    with pytest.raises(InvalidSettings, match=re.escape(sentence)) as invalid:
        settings.load.__wrapped__()

    assert f"{variable}: " in str(invalid.value)
    assert "secret" not in str(invalid.value)


def test_a_mistake_inside_a_setting_of_json_is_named_by_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTH_ISSUERS", '[{"issuer": "https://login.example.com"}]')

    with pytest.raises(InvalidSettings, match=r"AUTH_ISSUERS\.0\.audience: is required"):
        settings.load.__wrapped__()


@pytest.mark.parametrize("given", [{}, {"sasl_username": "app"}, {"sasl_password": "secret"}])
def test_sasl_without_credentials_is_rejected_before_anything_connects(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="KAFKA_SASL_USERNAME"):
        settings.Kafka(bootstrap_servers="kafka:9093", security_protocol="SASL_SSL", **given)
