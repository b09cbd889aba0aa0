"""Clients that are generated from the API's description pass their type checkers and work."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from PIL import Image
from service import ROOT, Platform

HERE = Path(__file__).parent
DESCRIPTION = ROOT / "shared_lib/web/openapi.json"
PICTURE = ROOT / "tests/golden/photographs/cat.jpg"
BIN = Path(sys.executable).parent  # node is there, too


def run(command: str, folder: Path, **environ: str) -> str:
    environ = dict(os.environ) | {"PATH": f"{BIN}:{os.environ['PATH']}"} | environ
    done = subprocess.run(command.split(), cwd=folder, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def assert_is_the_rendition(path: Path) -> None:
    with Image.open(path) as image:
        assert (image.format, image.width) == ("WEBP", 320)


@pytest.fixture(autouse=True, scope="module")
def collections(guarded: Platform, admin_key: str) -> None:
    """Make collections, for lists with more than one page."""
    for name in ("First", "Second"):
        made = requests.post(
            f"{guarded.url}/api/v1/collections", json={"name": name}, headers={"X-API-Key": admin_key}, timeout=30
        )
        assert made.status_code == 201


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of this folder, with the packages that are installed in it."""
    shutil.copytree(HERE, tmp_path, ignore=shutil.ignore_patterns("node_modules", "__pycache__"), dirs_exist_ok=True)
    (tmp_path / "node_modules").symlink_to(HERE / "node_modules")
    return tmp_path


def test_a_typescript_client_works(guarded: Platform, admin_key: str, folder: Path) -> None:
    run(f"node_modules/.bin/openapi-ts --silent --input {DESCRIPTION} --output client", folder)
    run("node_modules/.bin/tsc --project .", folder)
    run(f"node compiled/example.js {guarded.url} {PICTURE} hero.webp {admin_key}", folder)

    assert_is_the_rendition(folder / "hero.webp")


def test_a_python_client_works(guarded: Platform, admin_key: str, folder: Path) -> None:
    options = f"--path {DESCRIPTION} --output-path image_client --meta none --fail-on-warning"
    run(f"openapi-python-client generate {options}", folder)
    run("mypy --config-file mypy.ini", folder)
    run(f"python example.py {guarded.url} {PICTURE} hero.webp {admin_key}", folder)

    assert_is_the_rendition(folder / "hero.webp")
