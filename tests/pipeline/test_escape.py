"""A worker that a hostile image has taken over cannot escape by any of these attacks."""

import json
import os
import platform
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from pipeline.attacks import ATTACKS, SECRET

pytestmark = pytest.mark.skipif(platform.system() != "Linux", reason="Landlock and seccomp are Linux's")

PROGRAM = Path(__file__).parent / "attacks.py"
# Without Landlock, a worker can read all that its user may read. So by default nothing is decoded without it.
NEEDS_LANDLOCK = {"read a file", "list a folder"}


@cache
def carry_out(abi: int) -> dict[str, str]:
    """Carry out all attacks, with no later Landlock than this ABI."""
    environment = {"DATABASE_URL": SECRET.decode(), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(abi)], env=environment, capture_output=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stderr.decode()
    results: dict[str, str] = json.loads(done.stdout)
    return results


@pytest.mark.parametrize("abi", [1, 4, 6])
@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_fails(name: str, abi: int) -> None:
    assert carry_out(abi)[name].startswith(("PermissionError", "OSError", "FileNotFoundError", "ValueError")), name


@pytest.mark.parametrize("name", sorted(ATTACKS.keys() - NEEDS_LANDLOCK))
def test_an_attack_fails_even_without_landlock(name: str) -> None:
    assert carry_out(0)[name].startswith(("PermissionError", "OSError", "FileNotFoundError", "ValueError")), name


@pytest.mark.parametrize("abi", [0, 1, 4, 6])
def test_the_attacks_change_nothing(abi: int) -> None:
    assert carry_out(abi)["what the processor sees"] == "untouched"
