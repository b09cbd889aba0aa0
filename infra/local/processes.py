"""Child processes that are started, watched, started again when they die, and never left behind.

Each runs in a session of its own: a Ctrl-C at the terminal reaches the supervisor alone, which stops the others in
order, and whatever a process itself has started can be ended with it.
"""

import io
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import IO

from infra.local import terminal
from infra.local.settings import CannotStart

# Tells the guard its own number, through what is its standard input until it becomes the program: so there is no
# moment at which a process runs and the guard does not know of it.
_ANNOUNCED = ("/bin/sh", "-c", 'echo "$$ $0" >&0; exec "$@" </dev/null')
_AGAIN_AFTER_SECONDS = (0.2, 1.0, 2.0, 5.0)  # then every 5 s
_SETTLED_SECONDS = 30.0  # after a life this long, the waits begin anew
_CHECKS_TO_SPARE = 6  # of a young process, which may have much to do
_CHECKS_TO_FAIL = 2  # one after the other, before it is taken for stuck
_LAST_WORDS_SECONDS = 1.0  # for what a dead process wrote to be read; one that left it would never be through


class Interrupted(Exception):
    """The start was overtaken by a request to stop."""


class Tier(IntEnum):
    """What stands on what. The highest stops first, so that nothing loses its ground while it finishes."""

    STORE = 0
    BROKER = 1  # keeps its log in the store
    FUNCTION = 2
    EVENTING = 3  # gives functions their work, and must hear of every upload
    FRONT_DOOR = 4


@dataclass(frozen=True)
class Program:
    """What to run, and how to tell that it is ready."""

    name: str
    tier: Tier
    argv: Sequence[str]
    environ: Mapping[str, str]
    is_ready: Callable[[int], bool] = lambda _pid: True
    prepare: Callable[[], None] = lambda: None  # called before each process begins
    works: Callable[[], bool] = lambda: True  # one that does not is ended, and started again
    check_seconds: float = 5.0  # how often it is asked whether it works
    cwd: Path | None = None
    user: str | None = None  # of the same name: its group
    log: Path | None = None  # None: to the terminal, each line after its name
    stop_signal: signal.Signals = signal.SIGTERM
    grace_seconds: float = 5.0  # to stop in, before it is killed
    leaves: Sequence[Path] = ()  # files outside of its directories, that it does not remove if it is killed


class Supervisor:
    """Runs programs until told to stop."""

    def __init__(self, lock: IO[str]) -> None:
        self._stopping = threading.Event()
        self._running: list[_Running] = []
        self.scratch = Path(tempfile.mkdtemp(prefix="image-processing-"))
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
        """Start it and keep it running; return once it is ready."""
        running = self._launch(program, again=True)
        if not running.settled.wait(within_seconds):
            raise CannotStart(f"{program.name} is not ready after {within_seconds:.0f} s.\n{running.last_words()}")
        if self._stopping.is_set():
            raise Interrupted
        if running.exit_code is not None:
            raise CannotStart(f"{program.name} ended while it was starting.\n{running.last_words()}")

    def run(self, program: Program) -> None:
        """Run it to its end; any end but success is a reason not to start."""
        running = self._launch(program, again=False)
        running.join()
        if self._stopping.is_set():
            raise Interrupted
        if running.exit_code != 0:
            raise CannotStart(f"{program.name} did not succeed.\n{running.last_words()}")

    def stop(self) -> None:
        """Stop all, tier by tier; then let the guard go, which removes the scratch directory."""
        self._stopping.set()
        for tier in sorted(Tier, reverse=True):
            together = [running for running in self._running if running.program.tier == tier]
            for running in together:
                running.ask_to_stop()
            for running in together:
                running.end()
        if self._guard.stdin:
            self._guard.stdin.close()
        self._guard.wait()

    def _launch(self, program: Program, *, again: bool) -> "_Running":
        if self._guard.stdin is None:
            raise AssertionError
        running = _Running(program, self._guard.stdin, self._stopping, again=again)
        self._running.append(running)
        running.start()
        return running


class _Running(threading.Thread):
    """One program, through all the processes that run it one after the other."""

    def __init__(self, program: Program, guard: IO[bytes], stopping: threading.Event, *, again: bool) -> None:
        super().__init__(name=program.name)
        self.program = program
        self.settled = threading.Event()  # it became ready, or will not
        self.exit_code: int | None = None  # of a process that ended before it was ready, or ran only once
        self._again = again
        self._guard = guard
        self._stopping = stopping
        self._turn = threading.Lock()  # so that none begins while they are told to stop
        self._process: subprocess.Popen[bytes] | None = None
        self._tail: deque[str] = deque(maxlen=20)

    def run(self) -> None:
        failures = 0
        while process := self._begin():
            began = time.monotonic()
            relay = threading.Thread(target=self._relay, args=[process.stdout], daemon=True)
            relay.start()
            self._see_ready(process)
            code = self._see_end(process)
            relay.join(_LAST_WORDS_SECONDS)  # its last words are why it ended
            if self._stopping.is_set() or not self._again or not self.settled.is_set():
                self.exit_code = code
                break
            failures = 0 if time.monotonic() - began > _SETTLED_SECONDS else failures
            wait = _AGAIN_AFTER_SECONDS[min(failures, len(_AGAIN_AFTER_SECONDS) - 1)]
            failures += 1
            terminal.complain(f"{self.program.name} ended ({_meaning(code)}); it starts again in {wait:g} s.")
            self._stopping.wait(wait)
        self.settled.set()

    def ask_to_stop(self) -> None:
        """Ask the process itself, not its group: it knows in which order its own must end."""
        with self._turn:
            if self._process:
                self._process.send_signal(self.program.stop_signal)

    def end(self) -> None:
        self.join(self.program.grace_seconds)
        if self.is_alive() and self._process:
            _kill_group(self._process.pid)
        self.join()

    def last_words(self) -> str:
        if self.program.log and self.program.log.exists():
            self._tail.extend(self.program.log.read_text(errors="replace").splitlines()[-20:])
        return "\n".join(f"    {line}" for line in self._tail)

    def _begin(self) -> subprocess.Popen[bytes] | None:
        with self._turn:
            if self._stopping.is_set():
                return None
            program = self.program
            program.prepare()
            log = program.log.open("ab") if program.log else None
            self._process = subprocess.Popen(
                [*_ANNOUNCED, f"{program.tier:d} {program.stop_signal:d}", *program.argv],
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
            if log:
                log.close()
            return self._process

    def _see_ready(self, process: subprocess.Popen[bytes]) -> None:
        while self._again and process.poll() is None and not self._stopping.wait(0.02):
            if self.program.is_ready(process.pid):
                self.settled.set()
                return

    def _see_end(self, process: subprocess.Popen[bytes]) -> int:
        checks = failed = 0
        while failed < _CHECKS_TO_FAIL:
            try:
                process.wait(self.program.check_seconds)
                break
            except subprocess.TimeoutExpired:
                checks += 1
                spared = checks <= _CHECKS_TO_SPARE or self._stopping.is_set()
                failed = 0 if spared or self.program.works() else failed + 1
        code = self._end_stuck(process) if process.poll() is None else process.wait()
        _kill_group(process.pid)  # what it left: a killed PostgreSQL leaves its workers
        for path in self.program.leaves:
            path.unlink(missing_ok=True)
        with suppress(BrokenPipeError):  # the guard is gone too, and the platform about to stop
            self._guard.write(f"-{process.pid}\n".encode())
            self._guard.flush()
        return code

    def _end_stuck(self, process: subprocess.Popen[bytes]) -> int:
        terminal.complain(f"{self.program.name} runs, and does not work; it is ended.")
        process.send_signal(self.program.stop_signal)
        try:
            return process.wait(self.program.grace_seconds)
        except subprocess.TimeoutExpired:
            _kill_group(process.pid)
            return process.wait()

    def _relay(self, output: IO[bytes] | None) -> None:
        with output or io.BytesIO() as lines:
            for raw in lines:
                line = raw.decode(errors="replace").rstrip()
                self._tail.append(line)
                terminal.relay(self.program.name, line)


def _kill_group(group: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _meaning(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
