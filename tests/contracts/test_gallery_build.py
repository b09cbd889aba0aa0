"""The gallery's build, which is committed so that running the service needs no Node."""

import gzip
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from service import ROOT

from shared_lib.errors import FailureCode

BUILD = ROOT / "shared_lib/web/gallery"
NODE_PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def read_folder(folder: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in folder.iterdir()}


def run_in_sources(*command: str) -> None:
    subprocess.run(command, cwd=ROOT / "web", env=os.environ | {"PATH": NODE_PATH}, check=True)


def test_the_gallery_is_built_from_its_current_sources(tmp_path: Path) -> None:
    run_in_sources("node", "build.mjs", str(tmp_path))

    assert read_folder(tmp_path) == read_folder(BUILD), "web/ has changed since its last build: run `make web`"


def test_the_gallery_type_checks() -> None:
    run_in_sources("node_modules/.bin/tsc")


def test_the_gallery_loads_at_most_40_kb_of_compressed_script_before_it_shows_pictures() -> None:
    page = (BUILD / "index.html").read_text()
    first = re.findall(r"/gallery/([\w-]+\.js)", page)

    assert sum(len(gzip.compress((BUILD / name).read_bytes())) for name in first) <= 40_000
    others = {each.name for each in BUILD.glob("*.js")} - {*first}
    assert len(others) >= 4, "each language, the playground and the page for operators are fetched when they are wanted"


@pytest.mark.parametrize("language", ["de", "ar"])
def test_every_reason_of_a_failed_image_has_a_sentence_in_each_language(language: str) -> None:
    """In English it is the API's own."""
    messages = (ROOT / f"web/src/messages/{language}.ts").read_text()
    sentences = messages.split("\n  codes: {\n")[1]

    assert {*FailureCode} <= {*re.findall(r'\n? {4}(\w+): "', sentences)}


def test_the_gallery_names_no_other_host_and_has_nothing_inline() -> None:
    page = (BUILD / "index.html").read_text()

    assert re.findall(r"<script(?![^>]* src=\"/gallery/)|<style|style=|https?:|\son\w+=", page) == []
    assert b"https://" not in b"".join(each.read_bytes() for each in BUILD.glob("*.css"))
