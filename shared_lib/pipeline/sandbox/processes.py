"""The parent's side of the zygote and its workers: start them, exchange messages within a deadline, and end them."""

import contextlib
import errno
import fcntl
import io
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import IO, cast

from shared_lib.errors import Misconfigured, ServiceError, Unavailable
from shared_lib.limits import Limits
from shared_lib.pipeline import font
from shared_lib.pipeline.sandbox import ipc

ENVIRONMENT = {
    "FONTCONFIG_FILE": str(font.CONFIGURATION),
    # Ask for huge pages, so that an image takes fewer page faults. Measured for 12 MP to 1600 px: a JPEG takes 5 to 7 %
    # less processor time, a PNG 6 to 10 %, for 2 to 3 MiB more memory. No difference for small images.
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    "LC_ALL": "C.UTF-8",
    # One heap for all of a worker's threads, few of which run at once: they reuse what others have freed. Measured: a
    # 12 MP JPEG peaks 20 MiB lower than with two, in the same time. Each would also count as 64 MiB against RLIMIT_AS.
    "MALLOC_ARENA_MAX": "1",
    # Fixed, because glibc would raise them after the first large image, and keep that much from then on. Measured: at
    # 128 KiB, mapping anew costs a tenth of the time; at 8 MB a 50 MP TIFF peaks at 201 MiB instead of 221.
    "MALLOC_MMAP_THRESHOLD_": "8000000",
    "MALLOC_TRIM_THRESHOLD_": "8000000",
    "VIPS_BLOCK_UNTRUSTED": "1",  # loaders that libvips does not fuzz
    "VIPS_CONCURRENCY": "1",  # one core per worker: images run in parallel, not parts of one
    "VIPS_DISC_THRESHOLD": "1024g",  # no temporary files: the memory limit applies instead
    "VIPS_WARNING": "0",  # so that an image cannot write into our log
}
"""The whole environment of a worker. None of the parent's secrets are in it."""

PROGRAM = ("-m", "shared_lib.pipeline.sandbox.zygote")

# The largest pipe that Linux gives an ordinary user. A PNG of 1.7 MB then passes in 0.3 ms, not 1.2.
_PIPE_BYTES = 1 << 20
_DESCRIPTORS = 4  # of a worker: three pipes and a lifeline
_MAX_REPLY_HEADER = 1 << 20  # bytes; a hundred errors with their causes take a tenth
_START_SECONDS = 30  # to load Python and all codecs; takes 0.3 on an idle machine
_DYING_SECONDS = 5  # between closing its pipes and exiting
_STDERR_BYTES = 1 << 16


class SandboxIncomplete(Misconfigured):
    """The kernel cannot confine a worker, and the settings do not allow one to run without."""

    code = "sandbox_incomplete"

    def __init__(self, missing: Sequence[str]) -> None:
        lacks = " and ".join(missing)
        ServiceError.__init__(
            self,
            f"No image can be decoded: the kernel cannot confine a worker without {lacks}. "
            "Run on Linux 5.13 or newer, and let the container's seccomp profile allow landlock_* and seccomp. "
            "Or set PROCESSING_SANDBOX=best-effort to decode with the protection that is available.",
        )


class NoWorker(Unavailable):
    """No process can take an image: this machine lacks descriptors, memory or processes."""

    def __init__(self) -> None:
        super().__init__("No image can be decoded now")


class Zygote:
    """The process that forks workers, and keeps `spares` of them waiting.

    Create it from a thread that lives as long as the zygote should, because the zygote dies with that thread.
    `max_age` is in seconds, from a worker's first image to the beginning of its last. At most as many workers as
    `spares` wait after an image. Raises SandboxIncomplete, and OSError or EOFError if it cannot be started.
    """

    def __init__(  # noqa: PLR0913  a sandbox's settings
        self,
        limits: Limits,
        *,
        required: bool = True,
        spares: int = 1,
        images_per_worker: int = 1,
        max_age: float = 60,
        program: Sequence[str] = PROGRAM,
    ) -> None:
        self._images_per_worker = images_per_worker
        self._max_age = max_age
        self._most_used = spares
        self._used: list[Worker] = []
        config = {
            "parent": os.getpid(),
            "limits": asdict(limits),
            "required": required,
            "images_per_worker": images_per_worker,
        }
        self._control, theirs = socket.socketpair()
        try:
            self._process = subprocess.Popen(  # noqa: S603  # our own module, by our own interpreter
                [sys.executable, "-I", *program, json.dumps(config)],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env=ENVIRONMENT,
                start_new_session=True,  # Ctrl-C signals the parent, which then closes the sandbox
            )
        except BaseException:
            self._control.close()
            raise
        finally:
            theirs.close()
        self._control.settimeout(_START_SECONDS)
        try:
            self.missing: tuple[str, ...] = tuple(json.loads(self._read_hello()))
            if self.missing and required:
                raise SandboxIncomplete(self.missing)  # noqa: TRY301  handled like any other failure
            self._control.send(ipc.FORK * spares)
        except BaseException:
            self.kill()
            raise

    def take(self, tenant: str = "", *, new: bool = False) -> "Worker":
        """Return a worker that waits after an image of the tenant, unless it must be `new`, or else a new one.

        Raises OSError or EOFError if the zygote has died, and NoWorker if this process has no descriptors for a worker.
        """
        for worker in [each for each in self._used if each.tenant == tenant and not new]:
            self._used.remove(worker)
            if worker.age < self._max_age:
                return worker
            worker.close()
        message, descriptors, *_ = socket.recv_fds(self._control, len(ipc.FORK), _DESCRIPTORS)
        if not message:
            raise EOFError("the zygote has ended")
        self._control.send(ipc.FORK)
        if len(descriptors) < _DESCRIPTORS:  # the kernel leaves out those that this process has no room for
            for each in descriptors:
                os.close(each)  # which ends the worker
            raise NoWorker from OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return Worker(self, tenant, descriptors)

    def keep(self, worker: "Worker") -> None:
        """Keep a worker for another image of its tenant, or close it if it has had all or the zygote is closed."""
        if worker.images >= self._images_per_worker or self._control.fileno() < 0:
            worker.close()
            return
        self._used.append(worker)
        if len(self._used) > self._most_used:
            self._used.pop(0).close()

    def retire(self) -> None:
        """Let it exit after the last worker that is busy."""
        self._close()

    def kill(self) -> None:
        """Kill it, and all its workers with it."""
        self._close()
        self._process.kill()
        self._process.wait()

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def _close(self) -> None:
        self._control.close()
        while self._used:
            self._used.pop().close()

    def _read_hello(self) -> bytes:
        length = int.from_bytes(self._read(ipc.NUMBER_BYTES))
        return self._read(length)

    def _read(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            part = self._control.recv(length - len(data))
            if not part:
                raise EOFError("the zygote did not start")
            data += part
        return data


class Worker:
    """One confined process."""

    def __init__(self, zygote: Zygote, tenant: str, descriptors: Sequence[int]) -> None:
        """The descriptors are those of three pipes (requests, replies, stderr), and of the lifeline."""
        self.zygote = zygote
        self.tenant = tenant
        """Whose images it decodes, and nobody else's."""
        self.images = 0
        """Number that it has received."""
        self._received = 0.0  # the first image, on the monotonic clock
        self._requests, self._replies, self._stderr, lifeline = descriptors
        self._lifeline = socket.socket(fileno=lifeline)
        if sys.platform == "linux":
            with contextlib.suppress(PermissionError):  # the user already has too many large pipes
                fcntl.fcntl(self._requests, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    def exchange(self, header: bytes, images: Sequence[bytes], max_body: int, until: float) -> tuple[bytes, bytes]:
        """Send a job, and return the reply's header and body. `until` is a deadline on the monotonic clock.

        Raises TimeoutError, BrokenPipeError or EOFError if the worker has exited, ValueError if the reply is too long.
        """
        self._received = self._received or time.monotonic()
        self.images += 1
        requests = _DeadlinePipe(self._requests, select.POLLOUT, until)
        replies = _DeadlinePipe(self._replies, select.POLLIN, until)
        for part in ipc.frame(header, images):
            requests.write_all(part)
        return ipc.read(cast("IO[bytes]", io.BufferedReader(replies)), max_body, _MAX_REPLY_HEADER)

    @property
    def age(self) -> float:
        """Seconds since its first image."""
        return time.monotonic() - self._received

    def end(self, *, wait: bool = False) -> tuple[int | None, str]:
        """Have it killed, or with `wait` first give it time to exit by itself, so that its status is the real one.

        Return its exit status, as in `subprocess`, or None if it is unknown; and the text it wrote to stderr.
        """
        status = self._read_status(_DYING_SECONDS) if wait else None
        if status is None:
            with contextlib.suppress(OSError):
                self._lifeline.shutdown(socket.SHUT_WR)
            status = self._read_status(_DYING_SECONDS)
        os.set_blocking(self._stderr, False)
        with contextlib.suppress(BlockingIOError):
            return status, os.read(self._stderr, _STDERR_BYTES).decode(errors="replace")
        return status, ""

    def close(self) -> None:
        """Close its pipes. If it has not exited yet, the zygote kills it."""
        for pipe in (self._requests, self._replies, self._stderr):
            os.close(pipe)
        self._lifeline.close()

    def _read_status(self, seconds: float) -> int | None:
        self._lifeline.settimeout(seconds)
        try:
            status = self._lifeline.recv(ipc.NUMBER_BYTES)
        except OSError:
            return None
        return int.from_bytes(status, signed=True) if status else None


class _DeadlinePipe(io.RawIOBase):
    """A pipe's end that raises TimeoutError after a deadline on the monotonic clock."""

    def __init__(self, pipe: int, event: int, until: float) -> None:
        os.set_blocking(pipe, False)
        self._pipe = pipe
        self._until = until
        self._poll = select.poll()
        self._poll.register(pipe, event)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        self._wait()
        return os.readv(self._pipe, [buffer])  # type: ignore[list-item]  # what BufferedReader passes

    def write_all(self, data: bytes) -> None:
        remaining = memoryview(data)
        while remaining:
            self._wait()
            remaining = remaining[os.write(self._pipe, remaining) :]

    def _wait(self) -> None:
        if not self._poll.poll(max(0.0, self._until - time.monotonic()) * 1_000):
            raise TimeoutError


def describe(status: int | None) -> str:
    """Return an exit status in words, such as `SIGSEGV`."""
    if status is None:
        return "SIGKILL"  # together with the zygote, which could not report it
    return signal.Signals(-status).name if status < 0 else f"exit status {status}"
