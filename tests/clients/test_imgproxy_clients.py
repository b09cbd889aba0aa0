"""imgproxy's clients from npm work unchanged: each option that they can write gives the size and format it demands."""

import io
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
import signed_urls
from PIL import Image
from service import Api, Platform, make_photo

HERE = Path(__file__).parent
NODE = Path(sys.executable).parent / "node"


@pytest.fixture(scope="module")
def image(admin: Api) -> str:
    uuid = admin.upload(make_photo(200, 100))
    admin.await_end(uuid)
    return uuid


def list_urls(image: str) -> list[dict[str, Any]]:
    secrets = signed_urls.IMGPROXY_KEY, signed_urls.IMGPROXY_SALT
    command = [f"{NODE}", f"{HERE / 'imgproxy.mjs'}", f"image://{image}", *secrets]
    done = subprocess.run(command, capture_output=True, check=True, timeout=60)
    urls: list[dict[str, Any]] = json.loads(done.stdout)
    return urls


def fetch(url: str) -> tuple[int, tuple[int, int, str] | str]:
    """Return the status, and width, height and format, or the text."""
    answer = requests.get(url, timeout=60)
    if answer.status_code != 200:
        return answer.status_code, answer.text
    with Image.open(io.BytesIO(answer.content)) as picture:
        return 200, (*picture.size, f"{picture.format}")


def test_all_that_clients_write_is_answered_as_it_demands(guarded: Platform, image: str) -> None:
    urls = list_urls(image)
    with ThreadPoolExecutor(2) as threads:
        answers = [*threads.map(fetch, [f"{guarded.url}{each['path']}" for each in urls])]

    wrong = {
        each["name"]: answer
        for each, answer in zip(urls, answers, strict=True)
        if answer
        != (
            (200, (each["width"], each["height"], each.get("format", "JPEG")))
            if "width" in each
            else (404, "Invalid URL")  # an option of imgproxy Pro
        )
    }
    assert len(urls) > 120
    assert wrong == {}


def test_a_clients_url_is_refused_if_a_character_of_it_changes(guarded: Platform, image: str) -> None:
    path = list_urls(image)[0]["path"]
    for place in (len("/imgproxy/") + 3, len(path) - 1):
        other = path[:place] + ("A" if path[place] != "A" else "B") + path[place + 1 :]
        assert fetch(f"{guarded.url}{other}") == (403, "Forbidden")
