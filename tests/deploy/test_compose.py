"""The containers of Compose work as docker-compose.yml starts them, from the files that the image has."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from deploy import compose
from nginx import BACKENDS, Names, run_edge
from service import ENVIRONMENT, ROOT, Api, Platform, find_free_port, make_photo, wait_for

SERVICES = compose.load()["services"]
ROLES = {"images_front": "DATABASE_FRONT_URL", "images_reconciler": "DATABASE_RECONCILER_URL"}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the root folder of the image of all functions, as its Dockerfile fills it."""
    folder = tmp_path_factory.mktemp("image")
    dockerfile = (ROOT / "functions/Dockerfile").read_text()
    for source, target in re.findall(r"^COPY (functions|infra/\S+) (\S+)$", dockerfile, re.MULTILINE):
        if target != "local.txt":
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / source, folder / ("functions" if target == "." else target[1:]), ignore=ignored)
    return folder


@contextmanager
def run_container(image: Path, name: str, platform: Platform) -> Iterator[int]:
    """Run a container's command in its folder of the image, with its variables and this machine's addresses."""
    service, port = SERVICES[name], find_free_port()
    role = urlsplit(service["environment"]["DATABASE_URL"]).username
    parts: Mapping[str, str] = platform.environment
    addresses = {each: value for each, value in parts.items() if each.startswith(("S3_", "KAFKA_"))}
    environ = {
        **ENVIRONMENT,
        **{each: re.sub(r"\$\{\w+:-(.*)\}$", r"\1", value) for each, value in service["environment"].items()},
        **addresses,
        "DATABASE_URL": parts[ROLES[role]],
        "HTTP_PUBLIC_BASE_URL": "http://localhost",
        "PORT": f"{port}",
    }
    command = [sys.executable, *service["command"][1:]]
    folder = image / service["working_dir"].strip("/")
    with (image / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environ, stdout=log, stderr=subprocess.STDOUT)
        try:
            wait_for(lambda: _is_ready(port), bool, seconds=60)
            yield port
        finally:
            process.terminate()
            assert process.wait(30) == 0, (shlex.join(command), (image / f"{name}.log").read_text())


def _is_ready(port: int) -> bool:
    """Ask as the container's probe does."""
    try:
        return requests.get(f"http://127.0.0.1:{port}/_/ready", timeout=10).status_code == 204
    except requests.ConnectionError:
        return False


@pytest.fixture(scope="module")
def functions(image: Path, platform: Platform) -> Iterator[int]:
    with run_container(image, "functions", platform) as port:
        yield port


@pytest.fixture(scope="module")
def edge(functions: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with ExitStack() as stack:
        names = stack.enter_context(Names())
        names.address = "127.0.0.1"
        started = run_edge(
            tmp_path_factory.mktemp("edge") / "nginx",
            BACKENDS["compose"],
            backend_port=functions,
            dns_port=names.port,
            hosts=ROOT / "infra/compose/hosts-anonymous.conf",
        )
        yield stack.enter_context(started)


def test_an_upload_through_the_edge_is_processed_and_delivered(edge: str) -> None:
    api = Api(f"{edge}/api/v1", requests.Session())
    uuid = api.upload(make_photo(64, 48))

    assert api.await_end(uuid)["status"] == "succeeded"
    assert requests.get(f"{edge}/api/health", timeout=30).status_code == 200
    assert requests.get(f"{edge}/i/unsafe/w=20/{uuid}.png", timeout=30).headers["Content-Type"] == "image/png"


def test_imgproxys_host_has_its_urls_at_the_root(edge: str) -> None:
    uuid = Api(f"{edge}/api/v1", requests.Session()).upload(make_photo(64, 48))
    Api(f"{edge}/api/v1", requests.Session()).await_end(uuid)
    response = requests.get(f"{edge}/unsafe/w:20/plain/{uuid}@png", headers={"Host": "imgproxy.localhost"}, timeout=30)

    assert (response.status_code, response.headers["Content-Type"]) == (200, "image/png")


def test_metrics_are_for_the_network_of_the_containers_alone(edge: str, functions: int) -> None:
    assert requests.get(f"{edge}/_/metrics", timeout=30).status_code == 404
    direct = requests.get(f"http://127.0.0.1:{functions}/_/metrics", timeout=30)
    assert (direct.status_code, "# TYPE" in direct.text) == (200, True)


def test_a_foreign_host_is_refused(edge: str) -> None:
    response = requests.get(f"{edge}/api/v1/images", headers={"Host": "attacker.example"}, timeout=30)

    assert (response.status_code, response.json()["code"]) == (421, "misdirected_request")


def test_the_reconciler_serves_what_it_is_told_to_and_nothing_else(image: Path, platform: Platform) -> None:
    ping = {
        "ce-specversion": "1.0",
        "ce-type": "dev.knative.sources.ping",
        "ce-source": "/test",
        "ce-id": "1",
        "Content-Type": "application/json",
    }
    with run_container(image, "reconciler", platform) as port:
        statuses = {
            name: requests.post(f"http://127.0.0.1:{port}/{name}", '{"scope": "recent"}', headers=ping, timeout=60)
            for name in ("reconcile-images", "process-image")
        }

    assert {name: each.status_code for name, each in statuses.items()} == {
        "reconcile-images": 200,
        "process-image": 404,
    }
