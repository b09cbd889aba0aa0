"""What the processes that decode give up: the zygote before it forks, and each child before its first byte of an image.

Every step is checked. What a kernel cannot take is named, and it is for `box` to decide whether that is enough.
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
_CAPABILITIES = 0x20080522  # the version of Linux's interface to them
_MAX_OPEN_FILES = 64
# Modules, Python's and ours, some of which are imported late, the system's libraries that those need, and fonts: for
# text in SVG, and our own, which is beside the modules.
_READABLE = [sys.prefix, sys.base_prefix, "/lib", "/lib64", "/usr/lib", "/usr/lib64"]
_READABLE += ["/usr/share/fonts", "/usr/local/share/fonts", str(Path(__file__).parent.parent)]


def confine_zygote(newest_landlock: int = NEWEST) -> list[str]:
    """Take from this process and all that it will fork, for good: files but some, privileges, and traces on a disk.

    Works for an ordinary user as for root. Answers what the kernel could not take. No image ever comes here.
    """
    limit(resource.RLIMIT_FSIZE, 0)  # pipes are not files: nothing is ever written to a disk, nor to a temporary one
    limit(resource.RLIMIT_CORE, 0)  # a core would hold someone's picture
    if sys.platform != "linux":
        return ["seccomp", "Landlock"]
    prctl(_PR_SET_NO_NEW_PRIVS, 1)
    hide_memory()
    _drop_capabilities()
    prepare_filter()
    return [] if restrict_files(map(Path, _READABLE), newest_landlock) else ["Landlock"]


def confine_child(limits: Limits) -> list[str]:
    """Take from a child of the zygote what one image must not do. Answers what the kernel could not take.

    RLIMIT_NPROC is left alone: it would count threads, which libvips needs, and whatever else the user runs.
    """
    limit(resource.RLIMIT_AS, limits.memory_bytes)
    limit(resource.RLIMIT_NOFILE, _MAX_OPEN_FILES)
    limit(resource.RLIMIT_CPU, limits.cpu_seconds, limits.cpu_seconds + 1)  # SIGXCPU, and SIGKILL if it is ignored
    if sys.platform != "linux":
        return []  # the zygote has said so
    die_with_parent()
    return [] if restrict_system_calls() else ["seccomp"]


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread ends that started it, even in the middle of an image."""
    if sys.platform == "linux":
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def hide_memory() -> None:
    """Let no other process of the same user read this one's memory or environment, nor a core be written of it.

    Files in /proc then belong to root, and ptrace is for those who may trace anyone.
    """
    if sys.platform == "linux":
        prctl(_PR_SET_DUMPABLE, 0)


def limit(what: int, most: int, hard: int | None = None) -> None:
    """Set soft and hard limit, but never above what the process was given."""
    _, given = resource.getrlimit(what)
    hard = most if hard is None else hard
    if given != resource.RLIM_INFINITY:
        most, hard = min(most, given), min(hard, given)
    resource.setrlimit(what, (most, hard))


def _drop_capabilities() -> None:
    """All of root's, if it is root. Raises OSError."""
    nobody_elses = struct.pack("=II", _CAPABILITIES, 0)
    if LIBC.capset(nobody_elses, bytes(24)):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

