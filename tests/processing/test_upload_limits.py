"""Limits that an operator sets in the environment, as uploaders see them."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import requests
from service import ENVIRONMENT, Api, Platform, make_photo, start_platform, wait_for

from shared_lib.limits import MAX_SIDE, Limits

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

COMPLETE = {
    "DATABASE_URL": "postgresql://user:secret@127.0.0.1:1/db",
    "S3_ENDPOINT_URL": "http://127.0.0.1:1",
    "S3_ACCESS_KEY_ID": "key",
    "S3_SECRET_ACCESS_KEY": "secret",
    "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
}


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A service of its own, with low limits."""
    if "API_URL" in ENVIRONMENT:
        pytest.skip("the limits of the service at API_URL are unknown")
    running = start_platform(
        tmp_path_factory.mktemp("low-limits"),
        LIMITS_MAX_SIDE="320",
        LIMITS_MAX_BYTES="200000",
        LIMITS_WALL_SECONDS="25",
    )
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def api(platform: Platform) -> Iterator[Api]:
    with requests.Session() as session:
        yield Api(f"{platform.url}/api/v1", session)


@pytest.fixture(scope="module")
def s3(platform: Platform) -> "S3Client":
    environ = platform.environment
    client: S3Client = boto3.client(
        "s3",
        endpoint_url=environ["S3_ENDPOINT_URL"],
        aws_access_key_id=environ["S3_ACCESS_KEY_ID"],
        aws_secret_access_key=environ["S3_SECRET_ACCESS_KEY"],
        region_name="us-east-1",
    )
    return client


def test_a_limit_from_the_environment_applies_to_uploads(api: Api) -> None:
    fitting, wide = api.upload(make_photo(320, 20)), api.upload(make_photo(321, 20))

    assert api.await_end(fitting)["status"] == "succeeded"
    assert api.await_end(wide)["error"] == {
        "code": "side_too_long",
        "message": "The image is 321 px wide; at most 320 are allowed.",
    }


def test_an_object_beyond_the_limit_fails_before_it_is_read(api: Api) -> None:
    ended = api.await_end(api.upload(bytes(200_001)))

    assert ended["error"] == {
        "code": "file_too_large",
        "message": "The file has 200,001 bytes; at most 200,000 are allowed.",
    }


@pytest.mark.parametrize("data", [bytes(200_001), b"this is no image", b""], ids=["too large", "no image", "empty"])
def test_an_upload_that_can_never_become_an_image_is_removed_at_once(api: Api, s3: "S3Client", data: bytes) -> None:
    ticket = api("GET", "/images/actions/upload-url?extension=jpg").json()
    requests.put(ticket["presignedUrl"], data, timeout=10)

    ended = api.await_end(ticket["uuid"])

    assert ended["error"]["code"] in {"file_too_large", "unsupported_format", "empty_file"}
    wait_for(lambda: s3.list_objects_v2(Bucket="upload-images", Prefix=ticket["uuid"])["KeyCount"], lambda n: n == 0)
    response = api("POST", "/images/actions/process", json={"uuid": ticket["uuid"]})
    assert (response.status_code, response.json()["code"]) == (404, "image_not_in_storage")


def test_an_upload_that_may_succeed_later_is_kept(api: Api, s3: "S3Client") -> None:
    direct, presigned = make_photo(321, 20), make_photo(321, 21)
    ticket = api("GET", "/images/actions/upload-url?extension=jpg").json()
    assert requests.put(ticket["presignedUrl"], presigned, timeout=10).status_code == 200

    for uuid in (api.upload(direct), ticket["uuid"]):
        assert api.await_end(uuid)["error"]["code"] == "side_too_long"
    assert s3.list_objects_v2(Bucket="upload-images", Prefix=ticket["uuid"])["KeyCount"] == 1
    key = f"originals/{hashlib.sha256(direct).hexdigest()}.jpg"
    assert s3.list_objects_v2(Bucket="completed-images", Prefix=key)["KeyCount"] == 1


def test_a_foreign_object_that_is_too_large_fails_and_is_removed(api: Api, s3: "S3Client") -> None:
    s3.put_object(Bucket="upload-images", Key="foreign/enormous.jpg", Body=bytes(200_001))

    def find() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = api("GET", "/images?search=enormous.jpg&status=all").json()
        return found

    [image] = wait_for(find, lambda images: [each["status"] for each in images] == ["failed"])

    assert image["error"]["code"] == "file_too_large"
    assert s3.list_objects_v2(Bucket="upload-images", Prefix="foreign/")["KeyCount"] == 0
    assert s3.list_objects_v2(Bucket="upload-images", Prefix=image["uuid"])["KeyCount"] == 0


def load_settings(**environment: str) -> str:
    """Load the settings in a process with only this environment, and return its last line of output."""
    code = "from shared_lib import settings; print(settings.load().limits.model_dump_json())"
    done = subprocess.run(
        [sys.executable, "-c", code], env=COMPLETE | environment, capture_output=True, text=True, check=False
    )
    return (done.stdout or done.stderr).strip().splitlines()[-1]


def test_every_limit_is_read_from_its_variable() -> None:
    lower = {
        name: 161 << 20 if name == "memory_bytes" else default / 2 if name == "wall_seconds" else 1
        for name, default in asdict(Limits()).items()
    }

    loaded = load_settings(**{f"LIMITS_{name.upper()}": str(value) for name, value in lower.items()})

    assert json.loads(loaded) == lower
    assert json.loads(load_settings()) == asdict(Limits())


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("LIMITS_MAX_PIXELS", "abc", "must be a whole number"),
        ("LIMITS_MAX_FRAMES", "0", "must be more than 0"),
        ("LIMITS_MAX_OUTPUT_SIDE", str(MAX_SIDE + 1), f"must be at most {MAX_SIDE:,}"),
        ("LIMITS_MEMORY_BYTES", "1000000", "must be at least 167,772,160"),
        ("LIMITS_CPU_SECONDS", "31", "must be at most LIMITS_WALL_SECONDS"),
        ("LIMITS_WALL_SECONDS", "19", "must be at most LIMITS_WALL_SECONDS"),
    ],
)
def test_an_invalid_limit_is_named_in_the_error(variable: str, value: str, complaint: str) -> None:
    error = load_settings(**{variable: value})

    named = "LIMITS_CPU_SECONDS" if "SECONDS" in variable else variable
    assert f"{named}: " in error
    assert complaint in error
