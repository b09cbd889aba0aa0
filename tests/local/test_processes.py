import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from service import ROOT, wait_for

from infra.local.processes import Program, Supervisor, Tier
from infra.local.settings import CannotStart


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    with (tmp_path / "lock").open("w") as lock:
        supervisor = Supervisor(lock)
        yield supervisor
        supervisor.stop()


@pytest.fixture
def program(tmp_path: Path) -> Callable[..., Program]:
    """Make a program of a shell script. It is ready when it has appended its PID to the file `pids`."""
    (tmp_path / "pids").touch()

    def make(script: str, *, tier: Tier = Tier.FUNCTION, **more: float) -> Program:
        return Program(
            name=f"{tier.name}",
            tier=tier,
            argv=["/bin/sh", "-c", script],
            environ=dict(os.environ),
            is_ready=lambda pid: f"{pid}" in (tmp_path / "pids").read_text(),
            cwd=tmp_path,
            **more,  # type: ignore[arg-type]
        )

    return make


def pids(tmp_path: Path) -> list[int]:
    return [int(line) for line in (tmp_path / "pids").read_text().splitlines()]


def is_running(pid: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", f"{pid}"], capture_output=True, text=True, check=False).stdout
    return bool(state) and not state.startswith("Z")


def test_a_process_that_dies_is_restarted(
    tmp_path: Path, supervisor: Supervisor, program: Callable[..., Program]
) -> None:
    supervisor.start(program("echo $$ >> pids; exec sleep 60"))
    os.kill(pids(tmp_path)[0], signal.SIGKILL)
    assert len(wait_for(lambda: pids(tmp_path), lambda seen: len(seen) == 2)) == 2


def test_a_process_that_cannot_be_started_is_tried_again(
    tmp_path: Path, supervisor: Supervisor, program: Callable[..., Program], capsys: pytest.CaptureFixture[str]
) -> None:
    supervisor.start(program("echo $$ >> pids; exec sleep 60"))
    [first] = pids(tmp_path)
    with no_descriptors():
        os.kill(first, signal.SIGKILL)
        time.sleep(3)
    wait_for(lambda: pids(tmp_path), lambda seen: len(seen) == 2)
    assert "it cannot be run: [Errno 24] Too many open files" in capsys.readouterr().err


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Let this process open nothing during the block."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    opened: list[int] = []
    try:
        with suppress(OSError):
            while True:
                opened.append(os.open(os.devnull, os.O_RDONLY))
        yield
    finally:
        for each in opened:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_process_that_runs_but_does_not_work_is_restarted_ever_more_seldom(
    tmp_path: Path, supervisor: Supervisor, program: Callable[..., Program], capsys: pytest.CaptureFixture[str]
) -> None:
    broken = replace(
        program("echo $$ >> pids; exec sleep 60"), find_fault=lambda: "it has no partitions", check_seconds=0.05
    )
    supervisor.start(broken)
    wait_for(lambda: pids(tmp_path), lambda seen: len(seen) == 4)
    began = time.monotonic()
    wait_for(lambda: pids(tmp_path), lambda seen: len(seen) == 5)

    assert time.monotonic() - began > 2, "the fourth restart waits for 50 checks, and the first for 8"
    assert "FUNCTION runs, but does not work: it has no partitions. It is being stopped." in capsys.readouterr().err


def test_a_process_is_left_alone_while_it_cannot_be_checked(
    tmp_path: Path, supervisor: Supervisor, program: Callable[..., Program], capsys: pytest.CaptureFixture[str]
) -> None:
    def find_fault() -> str:
        raise OSError("Too many open files")

    supervisor.start(replace(program("echo $$ >> pids; exec sleep 60"), find_fault=find_fault, check_seconds=0.02))
    time.sleep(1)

    assert len(pids(tmp_path)) == 1
    assert "FUNCTION could not be checked: OSError('Too many open files')" in capsys.readouterr().err


def test_the_error_for_a_program_that_does_not_exist_says_so(
    supervisor: Supervisor, program: Callable[..., Program]
) -> None:
    with pytest.raises(CannotStart, match=r"FUNCTION ended while it was starting .*No such file"):
        supervisor.start(replace(program(""), cwd=Path("/nowhere")))


def test_children_of_a_dead_process_are_stopped_before_the_restart(
    tmp_path: Path, supervisor: Supervisor, program: Callable[..., Program]
) -> None:
    supervisor.start(program("sleep 60 & echo $! > child; echo $$ >> pids; wait"))
    child = int((tmp_path / "child").read_text())
    os.kill(pids(tmp_path)[0], signal.SIGKILL)
    wait_for(lambda: is_running(child), lambda running: not running)


def test_the_error_for_a_process_that_does_not_start_has_its_output(
    supervisor: Supervisor, program: Callable[..., Program]
) -> None:
    with pytest.raises(CannotStart, match=r"(?s)FUNCTION ended while it was starting.*no such luck"):
        supervisor.start(program("echo no such luck; exit 3"))


def test_the_highest_tier_stops_first_and_processes_that_ignore_the_signal_are_killed(
    tmp_path: Path, supervisor: Supervisor, program: Callable[..., Program]
) -> None:
    for tier in Tier:
        script = f"trap 'echo {tier.name} >> ended; exit' TERM; echo $$ >> pids; while :; do sleep 0.05; done"
        supervisor.start(program(script, tier=tier))
    supervisor.start(program("trap '' TERM; echo $$ >> pids; while :; do sleep 0.05; done", grace_seconds=0.5))
    supervisor.stop()
    assert (tmp_path / "ended").read_text().split() == [tier.name for tier in sorted(Tier, reverse=True)]
    assert not any(map(is_running, pids(tmp_path)))


SUPERVISED = """
import os, signal, sys
from infra.local.processes import Program, Supervisor, Tier
supervisor = Supervisor(open("lock", "w"))
for tier in Tier:
    script = "echo $$ >> pids; trap 'exit' TERM; while :; do sleep 0.05; done"
    supervisor.start(Program(tier.name, tier, ["/bin/sh", "-c", script], dict(os.environ)))
print(supervisor.scratch, flush=True)
signal.pause()
"""


def test_no_process_and_no_file_is_left_after_the_supervisor_is_killed(tmp_path: Path) -> None:
    environ = os.environ | {"PYTHONPATH": f"{ROOT}"}
    killed = subprocess.Popen([sys.executable, "-c", SUPERVISED], cwd=tmp_path, env=environ, stdout=subprocess.PIPE)
    assert killed.stdout
    scratch = Path(killed.stdout.readline().decode().strip())
    time.sleep(0.3)
    assert [is_running(pid) for pid in pids(tmp_path)] == [True] * len(Tier)
    killed.kill()
    killed.wait()
    killed.stdout.close()
    wait_for(lambda: [pid for pid in pids(tmp_path) if is_running(pid)], lambda running: not running)
    wait_for(scratch.exists, lambda exists: not exists)
