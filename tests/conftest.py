"""One running service for the whole session, and what looks at it from outside."""

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import functions_framework
import localstack_client.session
import pytest
import requests
from flask.testing import FlaskClient
from service import ROOT, Api, Platform, start_platform

from shared_lib.runtime import Runtime, current

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    running = start_platform(tmp_path_factory.mktemp("platform"))
    # The functions that a test loads into this process stand on the same services.
    os.environ.update(running.environment | {"AWS_ENDPOINT_URL": running.environment["S3_ENDPOINT_URL"]})
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="session")
def api(platform: Platform) -> Iterator[Api]:
    with requests.Session() as session:
        yield Api(f"{platform.url}/api/v1", session)


@pytest.fixture(scope="session")
def rt(platform: Platform) -> Runtime:
    """The runtime of functions that a test loads into this process."""
    return current()


@pytest.fixture(scope="session")
def s3(platform: Platform) -> "S3Client":
    """The store, through a LocalStack session: the same tests run against LocalStack when its address is set."""
    environ = platform.environment
    session = localstack_client.session.Session(
        aws_access_key_id=environ["S3_ACCESS_KEY_ID"], aws_secret_access_key=environ["S3_SECRET_ACCESS_KEY"]
    )
    client: S3Client = session.client("s3")
    return client


@pytest.fixture
def load(rt: Runtime) -> Iterator[Callable[[str], FlaskClient]]:
    """Load a function through functions-framework, as its container does; a test client for it."""
    before = dict(os.environ)
    yield lambda name: functions_framework.create_app("main", str(ROOT / "functions" / name / "main.py")).test_client()
    os.environ.clear()
    os.environ.update(before)
