import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import requests
from service import ENVIRONMENT, ROOT, Api, Platform, find_free_port, make_photo, start_platform


def fail_to_start(tmp_path: Path, **variables: str) -> str:
    """Start with settings that cannot work, and return the error output."""
    environ = ENVIRONMENT | {"PORT": f"{find_free_port()}", "DATA_DIR": f"{tmp_path / 'data'}"} | variables
    command = [sys.executable, "-m", "infra.local"]
    ended = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    return ended.stderr


def test_the_error_for_a_port_in_use_suggests_another(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert f"PORT={port + 1} make run" in fail_to_start(tmp_path, PORT=f"{port}")


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"PORT": "many"}, "PORT"),
        ({"HOST": "192.0.2.1"}, "HOST=192.0.2.1"),
        ({"HOST": "0.0.0.0", "AUTH_MODE": "anonymous"}, "AUTH_MODE=anonymous"),  # noqa: S104
        ({"AUTH_MODE": "off"}, "AUTH_MODE"),
        ({"EDGE_CACHE": "perhaps"}, "EDGE_CACHE"),
        ({"DATA_DIR": "/dev/null/data"}, "DATA_DIR=/dev/null/data cannot be written"),
        ({"S3_ENDPOINT_URL": "http://127.0.0.1:1"}, "S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY"),
    ],
)
def test_the_error_for_an_invalid_setting_names_it(variables: dict[str, str], message: str, tmp_path: Path) -> None:
    assert message in fail_to_start(tmp_path, **variables)


def test_two_instances_cannot_share_a_data_directory(platform: Platform, tmp_path: Path) -> None:
    assert f"in use by process {platform.process.pid}" in fail_to_start(tmp_path, DATA_DIR=f"{platform.data}")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], Platform]]:
    """Start the service, always with the same data."""
    started: list[Platform] = []

    def start() -> Platform:
        started.append(start_platform(tmp_path / "data"))
        return started[-1]

    yield start
    for platform in started:
        platform.process.terminate()
        platform.process.wait(30)


@pytest.mark.timeout(300)  # starts the whole service twice
def test_all_data_survives_a_kill_and_a_restart(start: Callable[[], Platform]) -> None:
    first = start()
    with requests.Session() as session:
        before = Api(f"{first.url}/api/v1", session)
        image = before.await_end(before.upload(make_photo(), "kept.jpg"))
        collection = before("POST", "/collections", json={"name": "Kept"}).json()["data"]
        first.process.kill()
        first.process.wait()
        _expect_no_errors_until_it_is_gone(first)
        second = start()
        after = Api(f"{second.url}/api/v1", session)
        assert after("GET", f"/images/{image['uuid']}").json() == image
        assert after("GET", f"/collections/{collection['uuid']}").json()["data"]["name"] == "Kept"
        assert after.await_end(after.upload(make_photo()))["status"] == "succeeded"
    assert second.stop() == 0
    assert not _accepts(second.url)


def _expect_no_errors_until_it_is_gone(platform: Platform) -> None:
    """Until the guard has stopped the processes of a killed run, the API still works."""
    while _accepts(platform.url):
        with suppress(requests.ConnectionError):
            response = requests.get(f"{platform.url}/api/health/live", timeout=10)
            assert (response.status_code, response.headers["Content-Type"]) == (200, "application/json")


def _accepts(url: str) -> bool:
    host, port = url.removeprefix("http://").split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0
