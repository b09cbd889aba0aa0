"""Start the service like a user, call its API like a client, and make images for it."""

import io
import itertools
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import pillow_heif.HeifImagePlugin  # noqa: F401  # registers HEIC with Pillow
import pillow_jxl  # noqa: F401  # registers JPEG XL with Pillow
import psutil
import pytest
import requests
from PIL import Image
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

ROOT = Path(__file__).parent.parent
Seen = TypeVar("Seen")
Deliver = Callable[..., int]
WaitInInbox = Callable[..., UUID]
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}}
"""The environment at the start. Some tests change it for functions that they load into this process.

Without the variables of `make test`, with which a test's own `make` would say its directory.
"""

WHOLE = '[{"name": "whole"}]'
"""Renditions to upload with: the whole image again. It has an object in the store, which a thumbnail lacks."""

START_SECONDS = 120
PROCESS_SECONDS = 30


_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 10
_PORTS = itertools.cycle(range(7_000 + 300 * _WORKER, 7_300 + 300 * _WORKER))
"""Each process of the tests has its own. Services choose none of them for themselves: `infra/local/ports.py`."""


def find_free_port() -> int:
    for port in _PORTS:
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError


@dataclass
class Platform:
    """A running `python -m infra.local`."""

    url: str
    data: Path
    process: subprocess.Popen[bytes]
    log: Path
    named_origin: str = ""
    """The origin in HTTP_CORS_ALLOW_ORIGINS."""

    @property
    def environment(self) -> dict[str, str]:
        lines = (self.data / "environment").read_text().splitlines()
        return {name: value.strip("'") for name, _, value in (line.partition("=") for line in lines)}

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=30)


class ExternalPlatform(Platform):
    """A service that already runs, for example under Compose. Variables have the addresses of its parts."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.named_origin = ENVIRONMENT.get("HTTP_CORS_ALLOW_ORIGINS", "")

    @property
    def environment(self) -> dict[str, str]:
        return ENVIRONMENT


def start_platform(data: Path, **more: str) -> Platform:
    """Start the whole service on free ports, unless `more` has a PORT, and wait until it is ready."""
    return start_platform_of(ROOT, data, more)


def start_platform_of(tree: Path, data: Path, more: dict[str, str]) -> Platform:
    """Start the service of a tree, which may be another release's."""
    platform = launch_platform(tree, data, more)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and platform.process.poll() is None:
        if b"Ready after" in platform.log.read_bytes():
            return platform
        time.sleep(0.1)
    platform.process.kill()
    pytest.fail(f"The platform did not start:\n{platform.log.read_text(errors='replace')[-4000:]}")


def launch_platform(tree: Path, data: Path, more: dict[str, str]) -> Platform:
    """Begin to start the service of a tree, and do not wait."""
    port = more.get("PORT") or find_free_port()
    data.mkdir(parents=True, exist_ok=True)
    log = data / "platform.log"
    environ = ENVIRONMENT | {"PORT": str(port), "DATA_DIR": str(data)} | more
    with log.open("wb") as output:  # truncated: an earlier run's "Ready" must not count
        process = subprocess.Popen(
            [sys.executable, "-m", "infra.local"], cwd=tree, env=environ, stdout=output, stderr=subprocess.STDOUT
        )
    return Platform(f"http://127.0.0.1:{port}", data, process, log, more.get("HTTP_CORS_ALLOW_ORIGINS", ""))


def start_function(platform: Platform, name: str, **more: str) -> tuple[subprocess.Popen[bytes], int]:
    """Start a function like its container, with nothing in front of it and with more settings.

    Return its process and its port.
    """
    port = find_free_port()
    source = f"{ROOT / 'functions' / name / 'main.py'}"
    own = {"HOST": "127.0.0.1", "PORT": f"{port}", "FUNCTION_TARGET": "main", "FUNCTION_SOURCE": source}
    environ = ENVIRONMENT | platform.environment | more | own
    process = subprocess.Popen([sys.executable, "-m", "shared_lib.server"], env=environ, cwd=ROOT)

    def is_ready() -> bool:
        try:
            return requests.get(f"http://127.0.0.1:{port}/_/ready", timeout=10).status_code == 204
        except requests.ConnectionError:
            return False

    wait_for(is_ready, bool, 60)
    return process, port


@contextmanager
def serve_function(platform: Platform, name: str, **more: str) -> Iterator[int]:
    """Serve a function in the same way. Yield its port."""
    process, port = start_function(platform, name, **more)
    try:
        yield port
    finally:
        process.terminate()
        assert process.wait(30) == 0


def find_processes(machine: Platform, *, name: str = "", module: str = "") -> list[psutil.Process]:
    """Find processes that run a program of this name or a module of Python."""

    def serves(process: psutil.Process) -> bool:
        try:
            return bool((name and process.name().startswith(name)) or (module and module in process.cmdline()))
        except psutil.NoSuchProcess:  # it has ended since, as a sandbox worker does after each image
            return False

    found = [each for each in psutil.Process(machine.process.pid).children(recursive=True) if serves(each)]
    assert found, f"no process of {name or module}"
    return found


def find_consumers(machine: Platform) -> psutil.Process:
    """Find the process of the functions that take events."""
    [process] = find_processes(machine, module="infra.local.consumers")
    return process


def find_port(process: psutil.Process) -> int:
    """Return the port that a process serves functions on."""
    return int(process.environ()["PORT"])


def run_command(
    machine: Platform, name: str, *words: str, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run one of the operators' commands on a service, with more variables."""
    command = [sys.executable, "-m", f"shared_lib.commands.{name}", *words]
    variables = {**ENVIRONMENT, **machine.environment, **(environ or {})}
    return subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=60, check=False)


def make_keys_of(machine: Platform) -> Callable[..., str]:
    """Return a function that makes an API key of a service with the operators' command."""

    def make(role: str, *options: str) -> str:
        made = run_command(machine, "api_keys", "create", "test", "--role", role, *options)
        assert made.returncode == 0, made.stderr
        return made.stdout.strip()

    return make


@dataclass
class Api:
    """A client of the REST API."""

    base: str
    session: requests.Session

    def __call__(self, method: str, path: str, **more: Any) -> requests.Response:
        return self.session.request(method, self.base + path, timeout=30, **more)

    def upload(self, data: bytes, filename: str = "photo.jpg", kind: str = "image/jpeg", **form: str) -> str:
        """Upload directly, and return the image's UUID."""
        response = self("POST", "/images/actions/upload", files={"file": (filename, data, kind)}, data=form)
        assert response.status_code == 200, response.text
        uuid: str = response.json()["data"]["uuid"]
        return uuid

    def await_end(self, uuid: str) -> dict[str, Any]:
        """Wait until an image is processed, and return it."""
        return wait_for(
            lambda: self("GET", f"/images/{uuid}").json(), lambda image: image.get("status") in ("succeeded", "failed")
        )


def connect(platform: Platform, key: str) -> Api:
    """Return a client with an API key."""
    session = requests.Session()
    session.headers["X-API-Key"] = key
    return Api(f"{platform.url}/api/v1", session)


def open_session() -> requests.Session:
    """Return a client that retries, because the service may close idle connections."""
    session = requests.Session()
    session.mount("http://", HTTPAdapter(max_retries=Retry(total=3, backoff_factor=0.1)))
    return session


def wait_for(look: Callable[[], Seen], enough: Callable[[Seen], object], seconds: float = PROCESS_SECONDS) -> Seen:
    """Call `look` until `enough` accepts its result. Fail after a timeout."""
    deadline = time.monotonic() + seconds
    pause = 0.01
    while True:
        seen = look()
        if enough(seen):
            return seen
        assert time.monotonic() < deadline, f"still {seen!r} after {seconds} s"
        time.sleep(pause)
        pause = min(2 * pause, 0.1)


def make_photo(width: int = 320, height: int = 240, form: str = "JPEG", **options: Any) -> bytes:
    """Encode an image with structure and noise. `form` is Pillow's name of the format."""
    noise = Image.effect_noise((width, height), 40)
    slope = Image.linear_gradient("L").resize((width, height))
    picture = Image.merge("RGB", (noise, slope, slope.transpose(Image.Transpose.FLIP_TOP_BOTTOM)))
    picture.paste(tuple(random.randbytes(3)), (0, 0, 8, 8))  # Pillow's noise is the same in each process
    with io.BytesIO() as file:
        picture.save(file, form, **options)
        return file.getvalue()
