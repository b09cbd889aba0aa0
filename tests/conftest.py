"""Fixtures: a running service for the whole session, clients for it, and functions loaded in this process."""

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import uuid4

import functions_framework
import localstack_client.session
import pytest
import requests
import signed_urls
from flask.testing import FlaskClient
from issuer import ALGORITHMS, AUDIENCE, Issuer, run_issuer
from pydantic import SecretStr
from service import (
    ENVIRONMENT,
    ROOT,
    Api,
    Deliver,
    ExternalPlatform,
    Platform,
    connect,
    find_free_port,
    make_keys_of,
    start_platform,
)

from shared_lib import settings
from shared_lib.constraints import DEFAULT_TENANT
from shared_lib.database.connection import Database
from shared_lib.database.sockets import open_for_migrations
from shared_lib.repositories.issuer_keys import IssuerKeys
from shared_lib.runtime import Runtime, current
from shared_lib.services.issuer_refresh import IssuerRefresh

if TYPE_CHECKING:
    from flask import Flask
    from mypy_boto3_s3 import S3Client

PRESETS = "tiny=w:20/f:webp,loop=pr:loop"
LOADING = threading.Lock()  # CPython 3.11 parses into an AST in one thread at a time (python/cpython#106905)


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """The service under test: the one at API_URL, or one that the tests start."""
    if url := ENVIRONMENT.get("API_URL"):
        yield ExternalPlatform(url)
        return
    named_origin = f"http://127.0.0.1:{find_free_port()}"
    running = start_platform(
        tmp_path_factory.mktemp("platform"), HTTP_CORS_ALLOW_ORIGINS=named_origin, IMGPROXY_PRESETS=PRESETS
    )
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="session")
def trusted_issuer() -> Iterator[Issuer]:
    """The issuer that the guarded service trusts."""
    with run_issuer() as running:
        yield running


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory, trusted_issuer: Issuer) -> Iterator[Platform]:
    """A service of its own whose callers need credentials. It trusts the issuer."""
    described = {"issuer": trusted_issuer.url, "audience": AUDIENCE, "algorithms": [*ALGORITHMS.values()]}
    issuers = [described, described | {"issuer": trusted_issuer.museum_url, "tenant": "museum"}]
    running = start_platform(
        tmp_path_factory.mktemp("guarded"),
        AUTH_MODE="required",
        AUTH_ISSUERS=json.dumps(issuers),
        DELIVERY_KEYS=signed_urls.SETTING,
        DELIVERY_WIDTHS="320,640",
        IMGPROXY_KEY=signed_urls.IMGPROXY_KEY,
        IMGPROXY_SALT=signed_urls.IMGPROXY_SALT,
        IMGPROXY_PRESETS=PRESETS,
        THUMBOR_SECURITY_KEY=signed_urls.THUMBOR_KEY,
        RATE_REQUESTS_PER_MINUTE="1000000",  # some tests send thousands
        RATE_UPLOADS_PER_MINUTE="1000000",
        RATE_PREVIEWS_PER_MINUTE="1000000",
        RATE_TENANT_REQUESTS_PER_MINUTE="1000000",
        RATE_TENANT_UPLOADS_PER_MINUTE="1000000",
        RATE_TENANT_DECODER_SECONDS_PER_MINUTE="1000000",
    )
    database = Database(settings.Database(url=SecretStr(running.environment["DATABASE_URL"])))
    trusted = tuple(settings.Issuer.model_validate(each) for each in issuers)
    IssuerRefresh(trusted, IssuerKeys(database)).run()  # and not only with the next tick, a minute later
    database.disconnect()
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="session")
def make_key(guarded: Platform) -> Callable[..., str]:
    return make_keys_of(guarded)


@pytest.fixture(scope="session")
def admin_key(make_key: Callable[..., str]) -> str:
    return make_key("admin")


@pytest.fixture(scope="session")
def admin(guarded: Platform, admin_key: str) -> Iterator[Api]:
    """A client of the guarded service that may do everything."""
    client = connect(guarded, admin_key)
    with client.session:
        yield client


@pytest.fixture(scope="session")
def api(platform: Platform) -> Iterator[Api]:
    with requests.Session() as session:
        yield Api(f"{platform.url}/api/v1", session)


@pytest.fixture(scope="session")
def s3(platform: Platform) -> "S3Client":
    """A client of the store, from a LocalStack session: with LocalStack's address, tests run against LocalStack."""
    environ = platform.environment
    os.environ["AWS_ENDPOINT_URL"] = environ["S3_ENDPOINT_URL"]
    session = localstack_client.session.Session(
        aws_access_key_id=environ["S3_ACCESS_KEY_ID"], aws_secret_access_key=environ["S3_SECRET_ACCESS_KEY"]
    )
    client: S3Client = session.client("s3")
    return client


@pytest.fixture(scope="session")
def rt(platform: Platform, s3: "S3Client") -> Iterator[Runtime]:
    """Return the runtime of functions that a test loads into this process.

    It shares the service's database, store and broker. But it has its own inbox without an event source, and short
    grace periods, so that tests control what happens when.
    """
    os.environ.update(platform.environment)
    os.environ.update(
        {"S3_UPLOAD_BUCKET": "quiet-images", "PROCESSING_PENDING_GRACE_SECONDS": "0.01", "LOG_FORMAT": "console"}
    )
    s3.create_bucket(Bucket="quiet-images")
    runtime = current()
    runtime.database.default_tenant = DEFAULT_TENANT
    yield runtime
    runtime.sandbox.close()
    runtime.broker.close()
    runtime.database.disconnect()


@pytest.fixture(scope="session")
def administrator_url(platform: Platform) -> str:
    """The URL of the platform's database for its administrator: a superuser, which no function is."""
    return platform.environment["DATABASE_URL"].replace("//images_owner@/", "//postgres@/")


@pytest.fixture(scope="module")
def empty_database(platform: Platform, administrator_url: str) -> Iterator[str]:
    """Create an empty database beside the service's, with its roles, and return its owner's URL."""
    name = f"own_{uuid4().hex}"
    admin = Database(settings.Database(url=SecretStr(administrator_url)))
    with admin.transaction() as tx:
        tx.rows("COMMIT")
        tx.rows(f"CREATE DATABASE {name}")
    created = settings.Database(url=SecretStr(urlsplit(administrator_url)._replace(path=f"/{name}").geturl()))
    with closing(open_for_migrations(created)) as connection:
        connection.cursor().execute((ROOT / "infra/k8s/components/postgres/roles.sql").read_text())
        connection.commit()
    yield urlsplit(platform.environment["DATABASE_URL"])._replace(path=f"/{name}").geturl()
    with admin.transaction() as tx:
        tx.rows("COMMIT")
        tx.rows(f"DROP DATABASE {name} WITH (FORCE)")
    admin.disconnect()


@pytest.fixture
def load(rt: Runtime) -> Iterator[Callable[[str], FlaskClient]]:
    """Load a function through functions-framework, like its container, and return a test client for it."""
    before = dict(os.environ)

    def load(name: str) -> FlaskClient:
        source = str(ROOT / "functions" / name / "main.py")
        with LOADING:
            app: Flask = functions_framework.create_app("main", source)  # type: ignore[no-untyped-call]  # no types
        return app.test_client()

    yield load
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def deliver(load: Callable[[str], FlaskClient]) -> Deliver:
    """POST an event to a function like a KafkaSource: in binary mode, without a Content-Type."""

    def post(function: str, kind: str, data: object, **attributes: str) -> int:
        headers = {"ce-specversion": "1.0", "ce-id": str(uuid4()), "ce-source": "/test", "ce-type": kind}
        headers |= {f"ce-{name}": value for name, value in attributes.items()}
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        return load(function).post("/", data=body, headers=headers).status_code

    return post
