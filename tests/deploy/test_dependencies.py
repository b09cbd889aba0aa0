"""All is installed from locked files with hashes. They contain what pyproject.toml asks for, and what that needs."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from service import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKED = {
    "requirements.txt": PROJECT["project"]["dependencies"],
    "requirements-codecs.txt": PROJECT["dependency-groups"]["codecs"],
    "infra/local/requirements.txt": PROJECT["dependency-groups"]["local"],
    "infra/local/services.txt": PROJECT["dependency-groups"]["services"],
    "tests/requirements.txt": PROJECT["dependency-groups"]["tests"],
    "benchmarks/requirements.txt": PROJECT["dependency-groups"]["load"],
    "tests/differential/requirements.txt": PROJECT["dependency-groups"]["thumbor"],
}
COMPLETE = ("requirements.txt", "infra/local/requirements.txt", "tests/requirements.txt")
"""Files whose packages are installed for tests, with all that they need."""
WITHOUT_NEEDS = ("requirements-codecs.txt", "infra/local/services.txt")
"""Files that are installed with `--no-deps`."""


def entries(file: str) -> list[str]:
    """Each requirement with its hashes, on one line."""
    lines = (ROOT / file).read_text().replace("\\\n", " ").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def locked(file: str) -> dict[str, Requirement]:
    found = [Requirement(each.partition(" --hash")[0]) for each in entries(file)]
    return {canonicalize_name(each.name): each for each in found}


def needs(package: str, extras: set[str]) -> Iterator[Requirement]:
    for text in metadata.requires(package) or []:
        requirement = Requirement(text)
        if not requirement.marker or any(requirement.marker.evaluate({"extra": each}) for each in {"", *extras}):
            yield requirement


@pytest.mark.parametrize("file", LOCKED)
def test_each_requirement_is_pinned_with_hashes(file: str) -> None:
    assert entries(file)
    for entry in entries(file):
        assert re.fullmatch(r"[a-z0-9-]+==\S+( ; [^\\]+?)?( +--hash=sha256:[0-9a-f]{64})+", entry), entry


@pytest.mark.parametrize("file", LOCKED)
def test_a_locked_file_contains_what_pyproject_asks_for(file: str) -> None:
    asked: list[Any] = LOCKED[file]
    found = locked(file)

    for requirement in (Requirement(each) for each in asked if isinstance(each, str)):
        assert found[canonicalize_name(requirement.name)].specifier == requirement.specifier, "run `make lock`"
    if file in WITHOUT_NEEDS:
        assert len(found) == len(asked), "run `make lock`"


@pytest.mark.parametrize("file", COMPLETE)
def test_a_locked_file_contains_all_that_its_packages_need_and_nothing_else(file: str) -> None:
    found = locked(file)
    asked = [Requirement(each) for each in LOCKED[file] if isinstance(each, str)]
    if file == "tests/requirements.txt":
        asked += [Requirement(each) for each in LOCKED["infra/local/requirements.txt"]]

    reached: set[tuple[str, frozenset[str]]] = set()
    while asked:
        requirement = asked.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if (name, extras) not in reached:
            reached.add((name, extras))
            asked += needs(name, {*extras})
            assert found[name].specifier.contains(metadata.version(name)), f"{name}: install what is locked"

    assert {name for name, _ in reached} == {name for name, each in found.items() if applies(each)}


def applies(requirement: Requirement) -> bool:
    return not requirement.marker or requirement.marker.evaluate()


def installations() -> dict[str, list[str]]:
    """Every command that installs Python packages, by file."""
    files = subprocess.run(
        ["git", "ls-files", "Makefile", ".ci", "*Dockerfile", "infra/*"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    found = {}
    for file in files:
        text = (ROOT / file).read_text().replace("\\\n", " ")
        found[file] = re.findall(r"(?:pip|\$\(PIP\))[^&|;\n]*? (?:install|wheel) [^&|;\n]*", text)
    return {file: commands for file, commands in found.items() if commands}


LOCAL = re.compile(r"--no-deps --no-build-isolation (--editable|--prefix \S+) \.$|--no-index")
BUILDS_NOTHING = ("--no-build-isolation", "--only-binary :all:", "setuptools.txt")
"""Or builds it with what is installed already."""


def test_a_release_is_checked_for_advisories_about_every_locked_file() -> None:
    command = subprocess.run(
        ["make", "--dry-run", "release-check"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout

    assert {*re.findall(r"--requirement (\S+)", command)} == LOCKED.keys()
    assert "--strict" in command  # a version that PyPI does not know is not taken for sound


def test_locked_files_are_all_that_is_installed_and_nothing_of_it_is_missing() -> None:
    needs = subprocess.run(
        [sys.executable, "-m", "pip", "check"], check=False, capture_output=True, text=True
    ).stdout.splitlines()
    services = tuple(re.findall(r"^([\w-]+)==", (ROOT / "infra/local/services.txt").read_text(), re.MULTILINE))

    assert [line for line in needs if not line.startswith((*services, "No broken"))] == []
    for file, commands in installations().items():
        for command in commands:
            assert "--no-deps" in command, f"{file}: {command}"


def test_nothing_is_installed_without_hashes() -> None:
    assert {*installations()} == {"Makefile", "functions/Dockerfile", "infra/compose/Dockerfile"}
    for file, commands in installations().items():
        for command in map(str.strip, commands):
            assert LOCAL.search(command) or "--require-hashes" in command, f"{file}: {command}"
            assert any(each in command for each in BUILDS_NOTHING) or LOCAL.search(command), f"{file}: {command}"
