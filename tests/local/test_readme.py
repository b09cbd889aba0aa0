"""The README's code blocks work when pasted one after the other, with the results that the text describes."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from service import ENVIRONMENT, ROOT, Platform

from shared_lib.web import openapi

README = (ROOT / "README.md").read_text()


def blocks(section: str, language: str) -> list[str]:
    [text] = re.findall(rf"^## {section}\n(.*?)(?=^## )", README, re.MULTILINE | re.DOTALL)
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


SHELL = [each for each in blocks("Quick start", "sh") if each != "make run\n"]


@pytest.fixture
def folder(platform: Platform, tmp_path: Path) -> Path:
    """A stand-in for the checkout, with `.data` in it."""
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    (tmp_path / ".data").symlink_to(platform.data)
    return tmp_path


@pytest.fixture
def port(platform: Platform) -> str:
    return platform.url.rpartition(":")[2]


def paste(blocks: list[str], port: str, downloads: str = "") -> str:
    """Return the blocks for the service on this port, with a folder of the test's own in place of /tmp."""
    return "\n".join(blocks).replace("localhost:5000", f"localhost:{port}").replace("/tmp", downloads)  # noqa: S108  the README names it


def test_the_quick_start_works_as_written(folder: Path, port: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    downloads = tmp_path_factory.mktemp("downloads")
    assert len(SHELL) == 7
    marked = [f"echo; echo '@{number}'\n{block}" for number, block in enumerate(SHELL)]

    pasted = subprocess.run(
        ["bash", "-eo", "pipefail"],
        input=paste(marked, port, f"{downloads}"),
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )

    assert pasted.returncode == 0, pasted.stderr[-2000:] + pasted.stdout[-2000:]
    upload, _, _, listing, naming, collecting, ordering = re.split(r"^@\d+$\n", pasted.stdout, flags=re.MULTILINE)[1:]
    assert json.loads(upload)["data"]["filename"] == "cat.jpg"
    assert len(json.loads(listing)) >= 2
    assert json.loads(naming)["message"] == json.loads(ordering)["message"] == "Processing started"
    assert json.loads(collecting)["meta"]["message"] == "Images added to collection"
    assert (downloads / "thumbnail.jpg").read_bytes().startswith(b"\xff\xd8\xff")
    assert (downloads / "card.webp").read_bytes()[8:12] == b"WEBP"
    assert {each.name for each in folder.iterdir()} == {"tests", ".data"}, "the checkout stays as it was"
    assert requests.get(f"http://localhost:{port}/api/v1/images?search=coffee.jpg", timeout=10).json()


@pytest.mark.parametrize(("language", "program"), [("python", sys.executable), ("js", "node")])
def test_the_example_clients_work_as_written(folder: Path, port: str, language: str, program: str) -> None:
    script = folder / {"python": "client.py", "js": "client.mjs"}[language]
    script.write_text(paste(blocks("From your own code", language)[:1], port))
    command = Path(sys.executable).with_name(program) if program == "node" else program

    ran = subprocess.run([command, script], cwd=folder, capture_output=True, text=True, timeout=60, check=False)

    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("succeeded n" if language == "js" else "succeeded None")
    assert "/renditions/web" in ran.stdout


@pytest.fixture
def consumer(folder: Path, port: str) -> Iterator[subprocess.Popen[str]]:
    [_, program] = blocks("From your own code", "python")
    command = [sys.executable, "-u", "-c", paste([program], port)]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.terminate()


def test_the_example_consumer_receives_the_event_of_an_image(consumer: subprocess.Popen[str], port: str) -> None:
    with (ROOT / "tests/golden/photographs/cat.jpg").open("rb") as file:
        form = {"file": ("announced.jpg", file, "image/jpeg")}
        uuid = requests.post(f"http://localhost:{port}/api/v1/images/actions/upload", files=form, timeout=30).json()[
            "data"
        ]["uuid"]

    assert consumer.stdout
    received = next(line for line in consumer.stdout if uuid in line)
    assert received == f"org.imageprocessing.image.processing.succeeded.v1 {uuid} announced.jpg\n"


def test_no_code_block_of_the_readme_deletes_data() -> None:
    commands = "\n".join(re.findall(r"^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL))

    assert "make reset" not in commands
    assert "make migration" not in commands


def test_every_command_of_the_readme_can_be_pasted() -> None:
    commands = "\n".join(re.findall(r"^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL))

    checked = subprocess.run(["bash", "-n"], input=commands, capture_output=True, text=True, check=False)

    assert (checked.returncode, checked.stderr) == (0, "")
    assert not re.search(r"<[a-z ]+>", commands), "a placeholder is a redirection"
    assert not re.search(r"-o (?!/)", commands), "a file would be left in the checkout"


@pytest.mark.parametrize("path", sorted(openapi.load()["paths"]))
def test_the_readme_says_where_each_path_begins(path: str) -> None:
    rule = r"^All paths are below `(.*?)`, except those that begin with (.*?)\. `/openapi"
    [sentence] = re.findall(rule, README, re.MULTILINE | re.DOTALL)
    base, others = sentence

    assert path.startswith((base, *re.findall("`(.*?)`", others)))
