import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import requests
from service import ENVIRONMENT, ROOT, Api, Platform, find_free_port, make_photo, start_platform


def start_in_vain(tmp_path: Path, **variables: str) -> str:
    """What it says when it cannot start."""
    environ = ENVIRONMENT | {"PORT": f"{find_free_port()}", "DATA_DIR": f"{tmp_path / 'data'}"} | variables
    command = [sys.executable, "-m", "infra.local"]
    ended = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    return ended.stderr


def test_a_taken_port_is_told_with_the_way_out(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"PORT={port + 1} make run" in start_in_vain(tmp_path, PORT=f"{port}")


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"PORT": "many"}, "PORT"),
        ({"HOST": "192.0.2.1"}, "HOST=192.0.2.1"),
        ({"DATA_DIR": "/dev/null/data"}, "DATA_DIR=/dev/null/data cannot be written"),
        ({"S3_ENDPOINT_URL": "http://127.0.0.1:1"}, "S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY"),
    ],
)
def test_what_cannot_be_is_told_by_name(variables: dict[str, str], told: str, tmp_path: Path) -> None:
    assert told in start_in_vain(tmp_path, **variables)


def test_a_data_directory_belongs_to_one_instance(platform: Platform, tmp_path: Path) -> None:
    assert f"in use by process {platform.process.pid}" in start_in_vain(tmp_path, DATA_DIR=f"{platform.data}")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], Platform]]:
    """Start the platform, each time on the same data."""
    started: list[Platform] = []

    def start() -> Platform:
        started.append(start_platform(tmp_path / "data"))
        return started[-1]

    yield start
    for platform in started:
        platform.process.terminate()
        platform.process.wait(30)


@pytest.mark.timeout(300)  # it starts the whole service twice
def test_killed_and_started_again_it_has_everything(start: Callable[[], Platform]) -> None:
    first = start()
    with requests.Session() as session:
        before = Api(f"{first.url}/api/v1", session)
        image = before.await_end(before.upload(make_photo()))
        first.process.kill()
        first.process.wait()
        _expect_no_fault_until_it_is_gone(first)
        second = start()
        after = Api(f"{second.url}/api/v1", session)
        assert after("GET", f"/images/{image['uuid']}").json() == image
        assert after.await_end(after.upload(make_photo()))["status"] == "succeeded"
    assert second.stop() == 0
    assert not _accepts(second.url)


def _expect_no_fault_until_it_is_gone(platform: Platform) -> None:
    """The guard ends what the killed one left; until then requests are answered, and properly."""
    while _accepts(platform.url):
        with suppress(requests.ConnectionError):
            response = requests.get(f"{platform.url}/api/health/live", timeout=10)
            assert (response.status_code, response.headers["Content-Type"]) == (200, "application/json")


def _accepts(url: str) -> bool:
    host, port = url.removeprefix("http://").split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0
