"""What a child gives up before it sees its first byte of an image."""

import ctypes
import resource
import signal
import sys
from pathlib import Path

from shared_lib.limits import Limits
from shared_lib.pipeline.landlock import restrict_files
from shared_lib.pipeline.seccomp import deny_system_calls

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_MAX_OPEN_FILES = 64
# Modules, Python's and ours, some of which are imported late, the system's libraries that those need, and fonts: for
# text in SVG, and our own, which is beside the modules.
_READABLE = [sys.prefix, sys.base_prefix, "/lib", "/lib64", "/usr/lib", "/usr/lib64"]
_READABLE += ["/usr/share/fonts", "/usr/local/share/fonts", str(Path(__file__).parent)]


def confine(limits: Limits) -> None:
    """Take from this process, for good, what decoding does not need.

    All of it works for an ordinary user as for root. Limits hold everywhere; that no file, network or other process can
    be reached, nor made, holds where the kernel is Linux and has Landlock and seccomp, as every current distribution's
    does. RLIMIT_NPROC is left alone: it would count threads, which libvips needs, and whatever else the user runs.
    """
    _limit(resource.RLIMIT_AS, limits.memory_bytes)
    _limit(resource.RLIMIT_NOFILE, _MAX_OPEN_FILES)
    _limit(resource.RLIMIT_FSIZE, 0)  # pipes are not files: nothing is ever written to a disk, nor to a temporary one
    _limit(resource.RLIMIT_CORE, 0)  # a core would hold someone's picture
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        # A child in the middle of an image would not see its stdin close; the box starts children from a thread that
        # lives as long as the box, since it is that thread's death, not the process's, which the kernel watches.
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        restrict_files(map(Path, _READABLE))
        deny_system_calls()


def grant_cpu(limits: Limits) -> None:
    """Allow this process the processor time of one more image; beyond it the kernel sends SIGXCPU, which ends it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    spent = int(used.ru_utime + used.ru_stime) + 1
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (spent + limits.cpu_seconds, hard))


def _limit(what: int, most: int) -> None:
    """Set soft and hard limit, but never above what the process was given."""
    _, hard = resource.getrlimit(what)
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    resource.setrlimit(what, (most, most))
