"""Ways to break a running service, each the fault of one cell of the matrix."""

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil
from local.embedded import run_another_program
from service import Platform, find_consumers, find_processes

if TYPE_CHECKING:
    from chaos.matrix import Matrix

STOP_SECONDS = 15.0  # longer than a lease, and than a request to PostgreSQL, the store or Kafka may take
BROKEN_STARTS = (0.5, 2.0, 3.5, 5.0)  # seconds after which a start is killed
FEW_DESCRIPTORS = 8  # fewer than any process has open, so that it can open nothing more
CUT_BYTES = 4_000  # at the end of the volume of Kafka's log, which the store does not fsync
JUMPS = ("+600", "-600")  # seconds


@dataclass(frozen=True)
class Target:
    """A part of the service, and how to find its process."""

    name: str
    find: Callable[[Platform], psutil.Process]
    ends_all: bool = False
    """Nothing runs without it: the service has to be started again."""


@dataclass(frozen=True)
class Fault:
    """The fault of a cell."""

    name: str
    run: "Callable[[Matrix], None]"
    kind: str = "plain"
    """The service that it is for: see `matrix.KINDS`."""


def _find_program(name: str) -> Callable[[Platform], psutil.Process]:
    return lambda platform: _find_outermost(find_processes(platform, name=name))


def _find_module(module: str) -> Callable[[Platform], psutil.Process]:
    return lambda platform: _find_outermost(find_processes(platform, module=module))


def _find_outermost(found: list[psutil.Process]) -> psutil.Process:
    return next(each for each in found if each.ppid() not in {other.pid for other in found})


def _find_zygote(platform: Platform) -> psutil.Process:
    """Return the newest zygote: one whose worker has crashed forks no more."""
    return max(find_consumers(platform).children(), key=psutil.Process.create_time)


def _find_worker(platform: Platform) -> psutil.Process:
    """Return a worker of the sandbox. Each lives for one image, so there may be none at a moment."""
    for _ in range(1000):
        with suppress(psutil.NoSuchProcess, IndexError, ValueError):
            return random.choice(_find_zygote(platform).children())
        time.sleep(0.01)
    raise RuntimeError("There is no worker")


def _find_backend(platform: Platform) -> psutil.Process:
    """Return a process of PostgreSQL that serves one connection."""
    processes = _find_program("postgres")(platform).children()
    backends = [each for each in processes if " images " in _read_title(each)]
    return random.choice(backends)


def _read_title(process: psutil.Process) -> str:
    """Return what PostgreSQL says that its process does: `postgres: images_app images [local] idle`."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def _find_supervisor(platform: Platform) -> psutil.Process:
    return psutil.Process(platform.process.pid)


TARGETS = (
    Target("api", _find_module("infra.local.gateway")),
    Target("consumers", find_consumers),
    Target("zygote", _find_zygote),
    Target("worker", _find_worker),
    Target("eventing", _find_module("infra.local.eventing")),
    Target("postgres", _find_program("postgres")),
    Target("postgres_backend", _find_backend),
    Target("seaweedfs", _find_program("weed")),
    Target("tansu", _find_program("tansu")),
    Target("supervisor", _find_supervisor, ends_all=True),
    Target("guard", _find_module("infra.local.guard"), ends_all=True),
)
_BY_NAME = {target.name: target for target in TARGETS}
PAIRS = ("postgres+consumers", "postgres+api", "seaweedfs+tansu", "seaweedfs+postgres", "eventing+postgres_backend")
NEED_DESCRIPTORS = ("api", "consumers", "eventing", "supervisor")


def kill(*targets: Target) -> "Callable[[Matrix], None]":
    def run(matrix: "Matrix") -> None:
        for process in [target.find(matrix.platform) for target in targets]:
            with suppress(psutil.NoSuchProcess):  # it ended with the one before
                process.send_signal(signal.SIGKILL)
        if any(target.ends_all for target in targets):
            matrix.restart()

    return run


def stop(target: Target) -> "Callable[[Matrix], None]":
    """Stop a process for a while, as a machine without processor time does. It may be ended meanwhile."""

    def run(matrix: "Matrix") -> None:
        process = target.find(matrix.platform)
        process.send_signal(signal.SIGSTOP)
        try:
            time.sleep(STOP_SECONDS)
        finally:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)

    return run


def take_descriptors(target: Target) -> "Callable[[Matrix], None]":
    """Let a process open nothing more for a while. Without those of the supervisor, no process is started anew."""

    def run(matrix: "Matrix") -> None:
        process = target.find(matrix.platform)
        before = process.rlimit(psutil.RLIMIT_NOFILE)
        process.rlimit(psutil.RLIMIT_NOFILE, (FEW_DESCRIPTORS, before[1]))
        try:
            if target.ends_all:
                time.sleep(1)
                kill(_BY_NAME["consumers"])(matrix)
            time.sleep(STOP_SECONDS)
        finally:
            with suppress(psutil.NoSuchProcess):
                process.rlimit(psutil.RLIMIT_NOFILE, before)

    return run


def kill_starts(matrix: "Matrix") -> None:
    """Kill the service, and then several starts of it, each at another moment."""
    matrix.platform.process.kill()
    for seconds in BROKEN_STARTS:
        matrix.platform.process.wait()
        matrix.begin_start()
        time.sleep(seconds)
        matrix.platform.process.kill()
    matrix.restart()


def lose_power(matrix: "Matrix") -> None:
    """Kill all processes at the same time, and take away what was not on the disk.

    PostgreSQL fsyncs each commit, and the supervisor its files. The store fsyncs nothing. What it loses of uploads is
    lost, which is not promised otherwise, so this takes the end of Kafka's log only, with ends that were announced. The
    lock of PostgreSQL then names a process of another program, and sockets are left.
    """
    with ExitStack() as others:
        for process in reversed(list_processes(matrix.platform)):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        matrix.platform.process.wait()
        for volume in (matrix.data / "seaweedfs/data").glob("kafka-log_*.dat"):
            os.truncate(volume, max(volume.stat().st_size - CUT_BYTES, 8))
        lock = matrix.data / "postgres/postmaster.pid"
        lines = lock.read_text().split("\n")
        lock.write_text("\n".join([f"{others.enter_context(run_another_program())}", *lines[1:]]))
        matrix.restart()
        matrix.audit.accept_lost_log()


def list_processes(platform: Platform) -> list[psutil.Process]:
    supervisor = psutil.Process(platform.process.pid)
    return [supervisor, *supervisor.children(recursive=True)]


def break_broker(matrix: "Matrix") -> None:
    """Have the broker answer errors, also to event sources that join their group meanwhile."""
    with matrix.services.broker_errors():
        kill(_BY_NAME["eventing"])(matrix)
        time.sleep(STOP_SECONDS)


def break_store(matrix: "Matrix") -> None:
    """Have the store cut off what it answers, in several ways."""
    with matrix.services.store_damage():
        time.sleep(STOP_SECONDS)


def move_clock(matrix: "Matrix") -> None:
    """Set the database's clock forward, then back, and then right. Leases and due times go by no other."""
    for offset in (*JUMPS, "+0"):
        matrix.database.set_clock(offset)
        time.sleep(STOP_SECONDS / 2)


FAULTS = (
    *(Fault(f"{each.name}/{name}", make(each)) for each in TARGETS for name, make in (("kill", kill), ("stop", stop))),
    *(Fault(f"{pair}/kill", kill(*map(_BY_NAME.__getitem__, pair.split("+")))) for pair in PAIRS),
    *(Fault(f"{name}/no_descriptors", take_descriptors(_BY_NAME[name])) for name in NEED_DESCRIPTORS),
    Fault("start/kill", kill_starts),
    Fault("machine/power_loss", lose_power),
    Fault("migration/kill", lambda _matrix: None, kind="new"),
    Fault("broker/errors", break_broker, kind="outside"),
    Fault("store/cut_answers", break_store, kind="outside"),
    Fault("database/clock_jump", move_clock, kind="clock"),
)
