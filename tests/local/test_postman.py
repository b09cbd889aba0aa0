"""Newman runs the whole Postman collection, and ends whatever the responses are."""

import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import SecretStr
from service import ROOT, Platform

from infra.postman import COLLECTION
from shared_lib import settings
from shared_lib.constraints import DEFAULT_TENANT
from shared_lib.database.connection import Database
from shared_lib.repositories.images import Images

NEWMAN = ROOT / "tests/newman/node_modules/newman/bin/newman.js"
ITEMS = json.loads(COLLECTION.read_text())["item"]
[POLLED] = [item["name"] for item in ITEMS if "setNextRequest" in json.dumps(item.get("event"))]


@pytest.fixture
def report(tmp_path: Path) -> Path:
    return tmp_path / "report.json"


def run(url: str, report: Path, **variables: str) -> tuple[Counter[str], list[str]]:
    """Return how often each request was sent, and the failures."""
    assert NEWMAN.exists(), "newman is not installed: run `make .venv/ready-to-test`"
    options = [f"--env-var={name}={value}" for name, value in ({"baseUrl": url} | variables).items()]
    node = Path(sys.executable).with_name("node")
    options += [f"--working-dir={ROOT}", "--reporters=json", f"--reporter-json-export={report}"]
    command = [f"{node}", f"{NEWMAN}", "run", f"{COLLECTION}", *options]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as newman:
        try:
            newman.wait(80)
        except subprocess.TimeoutExpired:
            newman.kill()  # Node sometimes hangs after newman has written the report
    run = json.loads(report.read_text())["run"]
    failures = [f"{each['source']['name']}: {each['error']['message']}" for each in run["failures"]]
    assert newman.returncode in (-signal.SIGKILL, 1 if failures else 0)
    return Counter(each["item"]["name"] for each in run["executions"]), failures


def test_the_postman_collection_runs_without_failures(platform: Platform, report: Path) -> None:
    sent, failures = run(platform.url, report)

    assert failures == []
    assert sent.total() == len(ITEMS) - 1 + sent[POLLED]


def test_the_postman_collection_ends_if_its_upload_fails(platform: Platform, report: Path) -> None:
    sent, failures = run(platform.url, report, image="no-uuid")

    assert sent.total() == len(ITEMS)
    assert f"{POLLED}: expected response to have status code 200 but got 400" in failures


def test_the_postman_collection_ends_if_an_image_stays_pending(platform: Platform, report: Path) -> None:
    database = Database(settings.Database(url=SecretStr(platform.environment["DATABASE_URL"])), DEFAULT_TENANT)
    uploading = uuid4()  # its object never arrives
    Images(database, settings.Processing()).create(uploading, "never.jpg", None, 1)
    database.disconnect()

    sent, failures = run(platform.url, report, image=f"{uploading}", polls="3")

    assert sent[POLLED] == 3
    assert f"{POLLED}: expected 'pending' to equal 'succeeded'" in failures
