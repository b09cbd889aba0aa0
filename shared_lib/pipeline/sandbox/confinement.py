"""Restrict the processes that decode: the zygote before it forks, and each worker before its image's first byte.

Each step is checked. What the kernel does not support is returned by name, and `pool` decides whether to go on without.
"""

import ctypes
import os
import resource
import signal
import struct
import sys
from pathlib import Path

from shared_lib.limits import Limits
from shared_lib.pipeline.sandbox.landlock import NEWEST, restrict_files
from shared_lib.pipeline.sandbox.libc import LIBC, prctl
from shared_lib.pipeline.sandbox.seccomp import prepare_filter, restrict_system_calls

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_CAPABILITIES = 0x20080522  # the version of Linux's capability interface
_MAX_OPEN_FILES = 64
# Python's modules and ours, some of which are imported late; the system libraries that they need; and fonts, for text
# in SVG. Our own fonts are beside our modules.
_READABLE = [sys.prefix, sys.base_prefix, "/lib", "/lib64", "/usr/lib", "/usr/lib64"]
_READABLE += ["/usr/share/fonts", "/usr/local/share/fonts", str(Path(__file__).parent.parent)]


def confine_zygote(newest_landlock: int = NEWEST) -> list[str]:
    """Take files but a few, all privileges, and all writing to a disk from this process and its workers, for good.

    Works for an ordinary user as for root. Return what the kernel could not restrict. The zygote never reads an image.
    """
    limit(resource.RLIMIT_FSIZE, 0)  # pipes are not files: nothing is written to a disk, not even a temporary file
    limit(resource.RLIMIT_CORE, 0)  # a core would contain someone's image
    if sys.platform != "linux":
        return ["seccomp", "Landlock"]
    prctl(_PR_SET_NO_NEW_PRIVS, 1)
    hide_memory()
    _drop_capabilities()
    prepare_filter()
    return [] if restrict_files(map(Path, _READABLE), newest_landlock) else ["Landlock"]


def confine_worker(limits: Limits) -> list[str]:
    """Limit a worker's resources and system calls. Return what the kernel could not restrict.

    RLIMIT_NPROC is left alone: it would count threads, which libvips needs, and all other processes of the user.
    """
    limit(resource.RLIMIT_AS, limits.memory_bytes)
    limit(resource.RLIMIT_NOFILE, _MAX_OPEN_FILES)
    limit(resource.RLIMIT_CPU, limits.cpu_seconds, limits.cpu_seconds + 1)  # SIGXCPU, then SIGKILL if it is ignored
    if sys.platform != "linux":
        return []  # the zygote has reported it
    die_with_parent()
    return [] if restrict_system_calls() else ["seccomp"]


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends, even in the middle of an image."""
    if sys.platform == "linux":
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def hide_memory() -> None:
    """Hide this process's memory and environment from other processes of the same user, and write no core of it.

    Its files in /proc then belong to root, and only those who may trace any process can trace it.
    """
    if sys.platform == "linux":
        prctl(_PR_SET_DUMPABLE, 0)


def limit(which: int, soft: int, hard: int | None = None) -> None:
    """Set the soft and hard limit of a resource, but never above the process's current hard limit."""
    _, current = resource.getrlimit(which)
    hard = soft if hard is None else hard
    if current != resource.RLIM_INFINITY:
        soft, hard = min(soft, current), min(hard, current)
    resource.setrlimit(which, (soft, hard))


def _drop_capabilities() -> None:
    """Drop all of root's capabilities, if this is root. Raises OSError."""
    this_process = struct.pack("=II", _CAPABILITIES, 0)
    if LIBC.capset(this_process, bytes(24)):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
