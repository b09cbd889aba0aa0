"""Kill or stop one process of a running service."""

import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import psutil
from service import Platform, find_consumers, find_processes


@dataclass(frozen=True)
class Target:
    """A part of the service, and how to find its process."""

    name: str
    find: Callable[[Platform], psutil.Process]
    ends_all: bool = False
    """Nothing runs without it: the service has to be started again."""


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


def kill(process: psutil.Process) -> None:
    process.send_signal(signal.SIGKILL)


def stop(process: psutil.Process, seconds: float) -> None:
    """Stop a process for a while, as a machine without processor time does. It may be ended meanwhile."""
    process.send_signal(signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGCONT)
