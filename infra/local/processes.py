"""Start processes, watch them, restart those that die or do not work, and stop all at the end.

Each runs in a session of its own. Ctrl-C in the terminal then only reaches the supervisor, which stops the others in
order, and a process can be killed together with its own children.
"""

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import IO

from infra.local import terminal
from infra.local.settings import CannotStart
from infra.local.state_files import make_scratch

# Writes its PID to the guard before it becomes the program: its standard input is the pipe to the guard. So the guard
# knows of each process from the start.
_ANNOUNCE = ("/bin/sh", "-c", 'echo "$$ $0" >&0; exec "$@" </dev/null')
_RESTART_SECONDS = (0.2, 1.0, 2.0, 5.0)  # then every 5 s
_STABLE_SECONDS = 30.0  # a process that ran this long resets the delays
_CHECKS_TO_SKIP = 6  # while a new process may be busy
_MOST_TO_SKIP = 96  # twice as many each time that a restart has not helped, so that restarts become rare
_CHECKS_TO_FAIL = 2  # in a row, before a process counts as stuck
_OUTPUT_SECONDS = 1.0  # for reading the output of a dead process. A child of it may keep the pipe open forever


class Interrupted(Exception):
    """The supervisor was stopped during the start."""


class Tier(IntEnum):
    """The order of dependencies between processes. The highest tier stops first, so its dependencies outlive it."""

    STORE = 0
    BROKER = 1  # stores its log in the store
    FUNCTION = 2
    EVENTING = 3  # sends events to functions, and must receive every notification of an upload
    GATEWAY = 4
    EDGE = 5  # passes requests on to the gateway


@dataclass(frozen=True)
class Program:
    """A command, with its environment and health checks."""

    name: str
    tier: Tier
    argv: Sequence[str]
    environ: Mapping[str, str]
    is_ready: Callable[[int], bool] = lambda _pid: True
    prepare: Callable[[], None] = lambda: None  # called before each start
    find_fault: Callable[[], str | None] = lambda: None
    """Return what does not work although the process runs, if a restart may help."""
    check_seconds: float = 15.0  # between two calls of `find_fault`
    cwd: Path | None = None
    user: str | None = None  # also the name of its group
    log: Path | None = None  # None: to the terminal, each line with the program's name
    stop_signal: signal.Signals = signal.SIGTERM
    grace_seconds: float = 5.0  # for stopping, before it is killed
    files: Sequence[Path] = ()  # extra files to delete if the process is killed


class Supervisor:
    """Keep programs running until `stop`."""

    def __init__(self, lock: IO[str]) -> None:
        """`lock` is the locked file in the data directory."""
        self._stopping = threading.Event()
        self._running: list[_Running] = []
        self.scratch = make_scratch(Path(lock.name).absolute().parent)
        self._guard = subprocess.Popen(
            [sys.executable, "-m", "infra.local.guard", f"{self.scratch}"],
            stdin=subprocess.PIPE,
            pass_fds=[lock.fileno()],
            start_new_session=True,
        )

    @property
    def is_guarded(self) -> bool:
        return self._guard.poll() is None

    def start(self, program: Program, *, within_seconds: float = 60.0) -> None:
        """Start a program and keep it running. Return when it is ready."""
        running = self._launch(program, restart=True)
        if not running.settled.wait(within_seconds):
            raise CannotStart(f"{program.name} is not ready after {within_seconds:.0f} s.\n{running.last_output()}")
        if self._stopping.is_set():
            raise Interrupted
        if running.end is not None:
            raise CannotStart(
                f"{program.name} ended while it was starting ({_describe(running.end)}).\n{running.last_output()}"
            )

    def run(self, program: Program) -> None:
        """Run a program to its end. Raise CannotStart unless it succeeds."""
        running = self._launch(program, restart=False)
        running.join()
        if self._stopping.is_set():
            raise Interrupted
        if running.end != 0:
            raise CannotStart(f"{program.name} failed.\n{running.last_output()}")

    def stop(self) -> None:
        """Stop all programs, tier by tier. Then close the guard, which removes the scratch directory."""
        self._stopping.set()
        for tier in sorted(Tier, reverse=True):
            tier_programs = [running for running in self._running if running.program.tier == tier]
            for running in tier_programs:
                running.request_stop()
            for running in tier_programs:
                running.ensure_stopped()
        if self._guard.stdin:
            self._guard.stdin.close()
        self._guard.wait()

    def _launch(self, program: Program, *, restart: bool) -> "_Running":
        if self._guard.stdin is None:
            raise AssertionError
        running = _Running(program, self._guard.stdin, self._stopping, restart=restart)
        self._running.append(running)
        running.start()
        return running


class _Running(threading.Thread):
    """One program, over all restarts of its process."""

    def __init__(self, program: Program, guard: IO[bytes], stopping: threading.Event, *, restart: bool) -> None:
        super().__init__(name=program.name)
        self.program = program
        self.settled = threading.Event()  # it is ready, or never will be
        self.end: int | Exception | None = None  # if it ended before it was ready, or is not restarted
        self._restart = restart
        self._guard = guard
        self._stopping = stopping
        self._starting = threading.Lock()  # so that no process starts while all are being stopped
        self._process: subprocess.Popen[bytes] | None = None
        self._tail: deque[str] = deque(maxlen=20)
        self._checks_to_skip = _CHECKS_TO_SKIP

    def run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            began = time.monotonic()
            end = self._run_process()
            if self._stopping.is_set() or not self._restart or not self.settled.is_set():
                self.end = end
                break
            failures = 0 if time.monotonic() - began > _STABLE_SECONDS else failures
            wait = _RESTART_SECONDS[min(failures, len(_RESTART_SECONDS) - 1)]
            failures += 1
            terminal.print_error(f"{self.program.name} ended ({_describe(end)}). Restart in {wait:g} s.")
            self._stopping.wait(wait)
        self.settled.set()

    def _run_process(self) -> int | Exception:
        """Run the process to its end. Return its exit code, or the error for which it cannot be started or watched.

        This thread has to go on whatever happens, as when there are no descriptors or no memory: nobody else would
        start the program again.
        """
        process = None
        try:
            process = self._start_process()
            if process is None:
                return 0
            relay = threading.Thread(target=self._relay, args=[process.stdout], daemon=True)
            relay.start()
            self._wait_until_ready(process)
            code = self._wait_for_exit(process)
            relay.join(_OUTPUT_SECONDS)  # its last lines say why it ended
        except Exception as error:  # noqa: BLE001  logged by the caller
            if process and process.returncode is None:
                self._clean_up(process)
            return error
        return code

    def request_stop(self) -> None:
        """Signal the process and not its group: it stops its own children in the right order."""
        with self._starting:
            if self._process:
                self._process.send_signal(self.program.stop_signal)

    def ensure_stopped(self) -> None:
        self.join(self.program.grace_seconds)
        if self.is_alive() and self._process:
            _kill_group(self._process.pid)
        self.join()

    def last_output(self) -> str:
        if self.program.log and self.program.log.exists():
            self._tail.extend(self.program.log.read_text(errors="replace").splitlines()[-20:])
        return "\n".join(f"    {line}" for line in self._tail)

    def _start_process(self) -> subprocess.Popen[bytes] | None:
        with self._starting:
            if self._stopping.is_set():
                return None
            program = self.program
            program.prepare()
            with program.log.open("ab") if program.log else nullcontext() as log:
                self._process = subprocess.Popen(
                    [*_ANNOUNCE, f"{program.tier:d} {program.stop_signal:d}", *program.argv],
                    env=program.environ,
                    cwd=program.cwd,
                    user=program.user,
                    group=program.user,
                    extra_groups=None if program.user is None else [],
                    stdin=self._guard,
                    stdout=log or subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            return self._process

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        while self._restart and process.poll() is None and not self._stopping.wait(0.02):
            if self.program.is_ready(process.pid):
                self.settled.set()
                return

    def _wait_for_exit(self, process: subprocess.Popen[bytes]) -> int:
        """Wait for the end of the process. Stop it if it runs but does not work."""
        checks = failed = 0
        while failed < _CHECKS_TO_FAIL:
            try:
                process.wait(self.program.check_seconds)
                break
            except subprocess.TimeoutExpired:
                checks += 1
                if checks <= self._checks_to_skip or self._stopping.is_set():
                    continue
                fault = self._find_fault()
                failed = failed + 1 if fault else 0
                if not fault:
                    self._checks_to_skip = _CHECKS_TO_SKIP
        else:
            self._checks_to_skip = min(2 * self._checks_to_skip, _MOST_TO_SKIP)
            self._stop_stuck(process, f"{fault}")
        return self._clean_up(process)

    def _find_fault(self) -> str | None:
        """Without descriptors or memory of our own we cannot tell, and a restart would not help."""
        try:
            return self.program.find_fault()
        except Exception as error:  # noqa: BLE001  logged, and asked again
            terminal.print_error(f"{self.program.name} could not be checked: {error!r}")
            return None

    def _clean_up(self, process: subprocess.Popen[bytes]) -> int:
        """End what is left of the process: a killed PostgreSQL leaves its children running. Return its exit code."""
        _kill_group(process.pid)
        code = process.wait()
        for path in self.program.files:
            path.unlink(missing_ok=True)
        with suppress(BrokenPipeError):  # the guard is gone, and everything is about to stop
            self._guard.write(f"-{process.pid}\n".encode())
            self._guard.flush()
        return code

    def _stop_stuck(self, process: subprocess.Popen[bytes], fault: str) -> None:
        terminal.print_error(f"{self.program.name} runs, but does not work: {fault}. It is being stopped.")
        process.send_signal(self.program.stop_signal)
        with suppress(subprocess.TimeoutExpired):
            process.wait(self.program.grace_seconds)

    def _relay(self, output: IO[bytes] | None) -> None:
        with output or io.BytesIO() as lines:
            for raw in lines:
                line = raw.decode(errors="replace").rstrip()
                self._tail.append(line)
                terminal.relay(self.program.name, line)


def _kill_group(group: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _describe(end: int | Exception) -> str:
    if isinstance(end, Exception):
        return f"it cannot be run: {end}"
    return signal.Signals(-end).name if end < 0 else f"exit code {end}"
