"""Services that start at the same moment choose different ports."""

import subprocess
import sys
from contextlib import ExitStack

from service import ROOT

CHOOSE = "import sys; from infra.local.ports import free_ports; print(*free_ports(200), flush=True); sys.stdin.read()"
CHOOSERS = 6


def test_programs_that_start_at_the_same_moment_choose_different_ports() -> None:
    """Six times 200 of 22,768 ports, by chance, would be the same 26 times."""
    with ExitStack() as stack:
        choosing = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", CHOOSE], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
            )
            for _ in range(CHOOSERS)
        ]
        chosen = [each.stdout.readline().split() for each in choosing if each.stdout]

    assert len({port for ports in chosen for port in ports}) == CHOOSERS * 200
