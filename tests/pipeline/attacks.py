"""Attacks that a worker might try once an image has taken it over, and the processor that it attacks.

`python attacks.py ABI` plays the processor: it has secrets, files and listening sockets, and starts a zygote that uses
no later Landlock than ABI (0: none at all). It has each attack carried out by a confined worker of its own, and prints
the outcomes as JSON. It also checks from outside whatever an attack may have reached.
"""

import ctypes
import errno
import json
import mmap
import os
import platform
import resource
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from shared_lib.limits import Limits
from shared_lib.pipeline.recipe import THUMBNAIL
from shared_lib.pipeline.sandbox import ipc, processes
from shared_lib.pipeline.sandbox.confinement import hide_memory
from shared_lib.pipeline.sandbox.landlock import NEWEST

SECRET = b"postgresql://user:hunter2@database/images"
AN_IMAGE = "none: it is the image before"
_MARK = b"the bytes of somebody else's image, once only: " + b"7f3a" * 8
# The same numbers on every architecture; those that differ are below.
_OPEN_TREE, _PIDFD_SEND_SIGNAL, _IO_URING_SETUP, _PIDFD_OPEN, _CLONE3, _PIDFD_GETFD, _LANDLOCK = (
    428, 424, 425, 434, 435, 438, 446,
)  # fmt: skip
_NUMBERS = {
    "x86_64": {
        "kill": 62, "tkill": 200, "tgkill": 234, "rt_sigqueueinfo": 129, "rt_tgsigqueueinfo": 297, "prlimit64": 302,
        "setpriority": 141, "sched_setaffinity": 203, "sched_setscheduler": 144, "ioprio_set": 251, "ptrace": 101,
        "process_vm_readv": 310, "process_vm_writev": 311, "mount": 165, "unshare": 272, "setns": 308, "keyctl": 250,
        "add_key": 248, "bpf": 321, "perf_event_open": 298, "userfaultfd": 323, "personality": 135, "memfd_create": 319,
        "execveat": 322, "shmget": 29, "msgget": 68, "migrate_pages": 256, "kcmp": 312, "chroot": 161, "reboot": 169,
        "setuid": 105, "capset": 126, "clone": 56, "seccomp": 317, "process_madvise": 440,
    },
    "aarch64": {
        "kill": 129, "tkill": 130, "tgkill": 131, "rt_sigqueueinfo": 138, "rt_tgsigqueueinfo": 240, "prlimit64": 261,
        "setpriority": 140, "sched_setaffinity": 122, "sched_setscheduler": 119, "ioprio_set": 30, "ptrace": 117,
        "process_vm_readv": 270, "process_vm_writev": 271, "mount": 40, "unshare": 97, "setns": 268, "keyctl": 219,
        "add_key": 217, "bpf": 280, "perf_event_open": 241, "userfaultfd": 282, "personality": 92, "memfd_create": 279,
        "execveat": 281, "shmget": 194, "msgget": 186, "migrate_pages": 238, "kcmp": 272, "chroot": 51, "reboot": 142,
        "setuid": 146, "capset": 91, "clone": 220, "seccomp": 277, "process_madvise": 440,
    },
}  # fmt: skip
_CALLS = _NUMBERS.get(platform.machine(), {})


class Target:
    """An attack's surroundings, which a real one would find out or guess."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.processor: int = config["processor"]
        self.folder = Path(config["folder"])
        self.port: int = config["port"]
        self.abstract: str = config["abstract"]


def call(number: int | str, *arguments: int | bytes | None) -> int:
    """Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    number = _CALLS[number] if isinstance(number, str) else number
    wide = [each if isinstance(each, bytes) or each is None else ctypes.c_long(each) for each in arguments]
    result: int = libc.syscall(ctypes.c_long(number), *wide)
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


ATTACKS: dict[str, Callable[[Target], object]] = {}


def attack(name: str) -> Callable[[Callable[[Target], object]], Callable[[Target], object]]:
    def register(attempt: Callable[[Target], object]) -> Callable[[Target], object]:
        ATTACKS[name] = attempt
        return attempt

    return register


def simple(name: str, attempt: Callable[[Target], object]) -> None:
    ATTACKS[name] = attempt


# Files.
simple("read the processor's environment", lambda it: Path(f"/proc/{it.processor}/environ").read_bytes())
simple("read the processor's memory", lambda it: Path(f"/proc/{it.processor}/mem").read_bytes())
simple("read the processor's memory map", lambda it: Path(f"/proc/{it.processor}/maps").read_bytes())
simple("see what the processor has open", lambda it: next(Path(f"/proc/{it.processor}/fd").iterdir()).readlink())
simple("read the zygote's environment", lambda _: Path(f"/proc/{os.getppid()}/environ").read_bytes())
simple("read the zygote's memory", lambda _: Path(f"/proc/{os.getppid()}/mem").read_bytes())
simple("write into the zygote's memory", lambda _: Path(f"/proc/{os.getppid()}/mem").write_bytes(b""))
simple("read a file", lambda it: (it.folder / "secret").read_bytes())
simple("list a folder", lambda it: list(it.folder.iterdir()))
simple("write a file", lambda it: (it.folder / "secret").write_bytes(b""))
simple("make a file", lambda it: (it.folder / "made").touch())
simple("make a folder", lambda it: (it.folder / "made").mkdir())
simple("remove a file", lambda it: (it.folder / "secret").unlink())
simple("rename a file", lambda it: (it.folder / "secret").rename(it.folder / "made"))
simple("make a symbolic link", lambda it: (it.folder / "made").symlink_to("/"))
simple("make a file readable for all", lambda it: (it.folder / "secret").chmod(0o777))
simple("cut a file short", lambda it: os.truncate(it.folder / "secret", 0))
simple("make a named pipe", lambda it: os.mkfifo(it.folder / "made"))
simple("change the root folder", lambda it: call("chroot", str(it.folder).encode()))
simple("mount a folder", lambda it: call("mount", b"none", str(it.folder).encode(), b"tmpfs", 0, None))
simple("clone a mount", lambda _: call(_OPEN_TREE, -100, b"/", 1))

# The network, and other sockets.
simple("connect by TCP", lambda it: socket.create_connection(("127.0.0.1", it.port), 2))
simple("send by UDP", lambda it: socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", it.port)))
simple("listen on a port", lambda _: socket.create_server(("127.0.0.1", 0)))
simple("connect to a UNIX socket", lambda it: socket.socket(socket.AF_UNIX).connect(str(it.folder / "socket")))
simple("connect to an abstract socket", lambda it: socket.socket(socket.AF_UNIX).connect("\0" + it.abstract))
simple("open a netlink socket", lambda _: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))
simple("make a pair of sockets", lambda _: socket.socketpair())
simple("set up an io_uring", lambda _: call(_IO_URING_SETUP, 1, bytes(120)))

# Other programs and processes.
simple("fork", lambda _: os._exit(0) if os.fork() == 0 else None)
simple("clone a process", lambda _: call("clone", signal.SIGCHLD, 0, 0, 0, 0) or os._exit(0))
simple(
    "clone a process by clone3", lambda _: call(_CLONE3, struct.pack("=11Q", *[0] * 4, signal.SIGCHLD, *[0] * 6), 88)
)
simple("become a shell", lambda _: os.execv("/bin/sh", ["sh", "-c", "exit 0"]))  # noqa: S606
simple("spawn a shell", lambda _: os.posix_spawn("/bin/sh", ["sh", "-c", "exit 0"], {}))
simple("make a file in memory", lambda _: call("memfd_create", b"x", 0))
simple("execute a file in memory", lambda _: call("execveat", 0, b"", None, None, 0x1000))
simple("signal the processor by kill", lambda it: call("kill", it.processor, signal.SIGUSR1))
simple("signal the zygote by kill", lambda _: call("kill", os.getppid(), signal.SIGUSR1))
simple("signal the processor by tkill", lambda it: call("tkill", it.processor, signal.SIGUSR1))
simple("signal the processor by tgkill", lambda it: call("tgkill", it.processor, it.processor, signal.SIGUSR1))
simple(
    "signal the processor by rt_sigqueueinfo",
    lambda it: call("rt_sigqueueinfo", it.processor, signal.SIGUSR1, struct.pack("=iii116x", signal.SIGUSR1, 0, -1)),
)
simple(
    "signal the processor by rt_tgsigqueueinfo",
    lambda it: call(
        "rt_tgsigqueueinfo", it.processor, it.processor, signal.SIGUSR1, struct.pack("=iii116x", signal.SIGUSR1, 0, -1)
    ),
)
simple("signal through a descriptor of a process", lambda _: call(_PIDFD_SEND_SIGNAL, 0, signal.SIGUSR1, None, 0))
simple("open a descriptor of the processor", lambda it: call(_PIDFD_OPEN, it.processor, 0))
simple("take a descriptor from the processor", lambda _: call(_PIDFD_GETFD, 0, 0, 0))
simple("trace the processor", lambda it: call("ptrace", 16, it.processor, 0, 0))
simple("trace the zygote", lambda _: call("ptrace", 16, os.getppid(), 0, 0))
simple("let the zygote trace it", lambda _: call("ptrace", 0, 0, 0, 0))
simple("compare descriptors with the processor's", lambda it: call("kcmp", os.getpid(), it.processor, 0, 0, 0))
simple("make the processor nicer", lambda it: call("setpriority", 0, it.processor, 19))
simple("bind the processor to one core", lambda it: call("sched_setaffinity", it.processor, 8, struct.pack("=Q", 1)))
simple("make the processor idle", lambda it: call("sched_setscheduler", it.processor, 5, struct.pack("=i", 0)))
simple("starve the processor of the disk", lambda it: call("ioprio_set", 1, it.processor, 3 << 13))
simple("move the processor's pages", lambda it: call("migrate_pages", it.processor, 0, 0, 0))


@attack("have the kernel signal the processor when a pipe is ready")
def _(it: Target) -> None:
    import fcntl  # noqa: PLC0415

    fcntl.fcntl(0, fcntl.F_SETOWN, it.processor)
    fcntl.fcntl(0, 10, signal.SIGUSR1)  # F_SETSIG
    fcntl.fcntl(0, fcntl.F_SETFL, os.O_ASYNC)


@attack("limit the processor's open files")
def _(it: Target) -> None:
    call("prlimit64", it.processor, resource.RLIMIT_NOFILE, struct.pack("=QQ", 7, 7), None)


@attack("read the processor's limits")
def _(it: Target) -> None:
    call("prlimit64", it.processor, resource.RLIMIT_NOFILE, None, bytes(16))


def _vector(length: int) -> bytes:
    _KEPT.append(ctypes.create_string_buffer(length))
    return struct.pack("=QQ", ctypes.addressof(_KEPT[-1]), length)


_KEPT: list[Any] = []
simple(
    "read the processor's memory by process_vm_readv",
    lambda it: call("process_vm_readv", it.processor, _vector(8), 1, _vector(8), 1, 0),
)
simple(
    "write the zygote's memory by process_vm_writev",
    lambda _: call("process_vm_writev", os.getppid(), _vector(8), 1, _vector(8), 1, 0),
)

# The kernel.
simple("make a namespace of its own", lambda _: call("unshare", 0x10000000))
simple("enter the processor's namespace", lambda _: call("setns", 0, 0))
simple("keep a key", lambda _: call("add_key", b"user", b"x", b"y", 1, -4))
simple("join a session of keys", lambda _: call("keyctl", 1, None))
simple("load a program into the kernel", lambda _: call("bpf", 0, bytes(72), 72))
simple("watch performance counters", lambda _: call("perf_event_open", bytes(120), 0, -1, -1, 0))
simple("handle page faults", lambda _: call("userfaultfd", 0))
simple("take another personality", lambda _: call("personality", 0x0400000))
simple("share memory", lambda _: call("shmget", 0, 4096, 0o1600))
simple("make a queue of messages", lambda _: call("msgget", 0, 0o1600))
simple("restart the machine", lambda _: call("reboot", 0, 0, 0, 0))
simple("become root", lambda _: call("setuid", 0))
simple("restrict itself anew by Landlock", lambda _: call(_LANDLOCK, 0, 0))
simple("add a filter of system calls", lambda _: call("seccomp", 1, 0, None))


def _change_limit(which: int) -> None:
    _, hard = resource.getrlimit(which)
    call("prlimit64", 0, which, struct.pack("=QQ", hard, hard), None)


@attack("outlive the zygote")
def _(_: Target) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(1, ctypes.c_ulong(0), 0, 0, 0):
        raise OSError(ctypes.get_errno(), "PR_SET_PDEATHSIG")


@attack("let others read its memory")
def _(_: Target) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(4, ctypes.c_ulong(1), 0, 0, 0):
        raise OSError(ctypes.get_errno(), "PR_SET_DUMPABLE")


simple("regain a capability", lambda _: call("capset", struct.pack("=II", 0x20080522, 0), b"\xff" * 24))
simple("raise its limit of memory", lambda _: resource.setrlimit(resource.RLIMIT_AS, (1 << 40, 1 << 40)))
simple("raise its limit of processor time", lambda _: _change_limit(resource.RLIMIT_CPU))
simple("take more memory than it may", lambda _: mmap.mmap(-1, 4 << 30))


@attack("see the last image's bytes")
def _(_: Target) -> None:
    """The worker that saw them has stored them here."""
    if not _SEEN:
        raise OSError(errno.ENOENT, "none of its bytes are here")


_SEEN: list[bytes] = []


def work(_job: ipc.Job, body: bytes, _limits: Limits) -> tuple[ipc.Reply, list[bytes]]:
    """Carry out the attack that the "image" names, in a worker. An empty trace means that it succeeded."""
    request = json.loads(body.removeprefix(_MARK))
    try:
        if request["name"] == AN_IMAGE:
            _SEEN.append(_MARK)
        else:
            ATTACKS[request["name"]](Target(request))
    except (OSError, MemoryError, ValueError) as error:
        return ipc.JobError(trace=(f"{type(error).__name__}: {error}"[:300],)), []
    return ipc.JobError(trace=()), []


def deny_landlock() -> None:
    """Answer landlock_* with ENOSYS from now on, in this process and all that it starts."""
    _deny([(0x20, 0, 0, 0), (0x35, 0, 2, 444), (0x25, 1, 0, 446), (0x06, 0, 0, 0x00050000 | errno.ENOSYS)])


def deny_seccomp() -> None:
    """Answer prctl(PR_SET_SECCOMP) with EINVAL, as a kernel without it does, in this process and all that it starts."""
    prctl = {"x86_64": 157, "aarch64": 167}[platform.machine()]
    test = [(0x20, 0, 0, 0), (0x15, 0, 3, prctl), (0x20, 0, 0, 16), (0x15, 0, 1, 22)]
    _deny([*test, (0x06, 0, 0, 0x00050000 | errno.EINVAL)])


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def _deny(steps: list[tuple[int, int, int, int]]) -> None:
    """Install a filter that allows all calls but those that the steps deny."""
    libc = ctypes.CDLL(None, use_errno=True)
    code = b"".join(struct.pack("=HBBI", *step) for step in [*steps, (0x06, 0, 0, 0x7FFF0000)])
    zeros = [ctypes.c_ulong(0)] * 3
    assert libc.prctl(38, ctypes.c_ulong(1), *zeros) == 0
    assert libc.prctl(22, ctypes.c_ulong(2), ctypes.byref(_Program(len(code) // 8, code)), *zeros[:2]) == 0


def play_processor(abi: int) -> dict[str, str]:
    """Return each attack's error, or that it succeeded, and what changed outside."""
    results, signals = {}, []
    signal.signal(signal.SIGUSR1, lambda *_: signals.append("signalled"))
    if abi == 0:
        deny_landlock()
    hide_memory()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "secret").write_bytes(SECRET)
        tcp, unix, abstract = socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX), f"x{os.getpid()}"
        unix.bind(str(folder / "socket"))
        unix.listen()
        hidden = socket.socket(socket.AF_UNIX)
        hidden.bind("\0" + abstract)
        hidden.listen()
        config = {"processor": os.getpid(), "folder": name, "port": tcp.getsockname()[1], "abstract": abstract}
        before = _describe(folder)
        folder_of_this = str(Path(__file__).parent)
        code = (
            f"import sys; sys.path.insert(0, {folder_of_this!r}); import attacks; "
            f"from shared_lib.pipeline.sandbox import zygote; zygote.main(attacks.work, {abi or NEWEST})"
        )
        forks = processes.Zygote(Limits(cpu_seconds=5), required=abi > 0, program=("-c", code))
        for each in ATTACKS:
            _carry_out(forks, {"name": AN_IMAGE})
            results[each] = _carry_out(forks, config | {"name": each})
        time.sleep(0.2)  # for signals on their way
        forks.kill()
        results["what the processor sees"] = " ".join(signals) or _describe(folder).replace(before, "untouched")
    return results


def _carry_out(forks: processes.Zygote, request: dict[str, Any]) -> str:
    worker = forks.take()
    try:
        job = ipc.Job(recipes=(THUMBNAIL,)).write()
        header, _ = worker.exchange(job, [_MARK, json.dumps(request).encode()], 0, time.monotonic() + 30)
        trace = json.loads(header)["trace"]
        return trace[0] if trace else "succeeded"
    except (EOFError, BrokenPipeError):
        status, stderr = worker.end(wait=True)
        return f"{processes.describe(status)} {stderr}"
    finally:
        worker.close()


def _describe(folder: Path) -> str:
    """Return all that an attack might have changed."""
    files = [(file.name, file.lstat().st_size, file.lstat().st_mode) for file in sorted(folder.iterdir())]
    return repr((
        files, resource.getrlimit(resource.RLIMIT_NOFILE), os.getpriority(os.PRIO_PROCESS, 0),
        sorted(os.sched_getaffinity(0)), os.sched_getscheduler(0), threading.active_count(), asdict(Limits()) != {},
    ))  # fmt: skip


if __name__ == "__main__":
    sys.stdout.write(json.dumps(play_processor(int(sys.argv[1]))))
