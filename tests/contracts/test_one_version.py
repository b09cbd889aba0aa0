"""The version stands in pyproject.toml, and everything else has it from there."""

import json
import re
import subprocess
from importlib import metadata

from service import ROOT

from infra.version import read_version


def test_the_changelog_begins_with_the_version() -> None:
    [first, *_] = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert first == read_version()


def test_the_installed_package_and_openapi_have_the_version() -> None:
    assert metadata.version("image-processing") == read_version()
    document = json.loads((ROOT / "shared_lib/web/openapi.json").read_text())
    assert document["info"]["version"] == read_version()


def test_no_image_of_ours_is_named_with_another_version() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    tags = {
        (name, tag)
        for name in filter(None, listed.stdout.split("\0"))
        if name.endswith((".yaml", ".yml", "Dockerfile")) and (ROOT / name).is_file()
        for tag in re.findall(r"\bimage-processing/[a-z-]+:(\d[\w.+-]*)", (ROOT / name).read_text())
    }

    assert tags
    assert {each for each in tags if each[1] != read_version()} == set()
