"""The parent's side of the zygote and of its children: start them, talk within a deadline, learn how they ended."""

import contextlib
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

from shared_lib.errors import Misconfigured, ServiceError
from shared_lib.limits import Limits
from shared_lib.pipeline import font
from shared_lib.pipeline.sandbox import ipc

ENVIRONMENT = {
    "FONTCONFIG_FILE": str(font.CONFIGURATION),
    "LC_ALL": "C.UTF-8",
    # One heap for all of a child's threads, few of which run at once: what one gives back the next can use. Measured: a
    # 12 MP JPEG peaks 20 MiB lower than with two, in the same time. Each would also count as 64 MiB against RLIMIT_AS.
    "MALLOC_ARENA_MAX": "1",
    # Fixed, because glibc would raise them after the first large image, and hold on to as much from then on. Measured:
    # at 128 KiB mapping anew costs a tenth of the time; at 8 MB a 50 MP TIFF peaks at 201 MiB instead of 221.
    "MALLOC_MMAP_THRESHOLD_": "8000000",
    "MALLOC_TRIM_THRESHOLD_": "8000000",
    "VIPS_BLOCK_UNTRUSTED": "1",  # loaders that libvips does not fuzz
    "VIPS_CONCURRENCY": "1",  # one core per child: it is images that run side by side
    "VIPS_DISC_THRESHOLD": "1024g",  # never a temporary file: the limit on memory decides
    "VIPS_WARNING": "0",  # an image cannot write into our log
}
"""All that a child knows of its surroundings; above all, none of the parent's secrets."""

PROGRAM = ("-m", "shared_lib.pipeline.sandbox.zygote")

# The most that Linux gives an ordinary user's pipe: a PNG of 1.7 MB goes through in 0.3 ms, not 1.2.
_PIPE_BYTES = 1 << 20
_MAX_REPLY_HEADER = 1 << 20  # bytes; a hundred refusals with their causes take a tenth
_START_SECONDS = 30  # for Python and all codecs; 0.3 on an idle machine
_DYING_SECONDS = 5  # between closing its pipes and being gone
_WORDS_BYTES = 1 << 16


class Unconfined(Misconfigured):
    """The kernel cannot confine a decoder, and nobody has said that one may run all the same."""

    code = "sandbox_incomplete"

    def __init__(self, missing: Sequence[str]) -> None:
        lacks = " and ".join(missing)
        ServiceError.__init__(
            self,
            f"Nothing is decoded here: the kernel cannot confine a decoder without {lacks}. "
            "Run on Linux 5.13 or newer, and let the container's seccomp profile allow landlock_* and seccomp. "
            "Or set PROCESSING_SANDBOX=best-effort to decode with what protection there is.",
        )


class Zygote:
    """The process that forks decoders, `spares` of them always ahead.

    Make it from a thread that lives as long as the zygote shall: it dies with that thread.
    Raises Unconfined, and OSError or EOFError if it cannot be started.
    """

    def __init__(
        self, limits: Limits, *, required: bool = True, spares: int = 1, program: Sequence[str] = PROGRAM
    ) -> None:
        self._control, theirs = socket.socketpair()
        order = {"parent": os.getpid(), "limits": asdict(limits), "required": required}
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603  # our own module, by our own interpreter
                [sys.executable, "-I", *program, json.dumps(order)],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env=ENVIRONMENT,
                start_new_session=True,  # a Ctrl-C is for the parent, which then closes the box
            )
        self._control.settimeout(_START_SECONDS)
        try:
            self.missing: tuple[str, ...] = tuple(json.loads(self._read_hello()))
            if self.missing and required:
                raise Unconfined(self.missing)  # noqa: TRY301  it ends like any other failure
            self._control.send(ipc.FORK * spares)
        except BaseException:
            self.kill()
            raise

    def take(self) -> "Decoder":
        """Hand over the decoder that is ready, and have another forked. Raises OSError or EOFError if it has died."""
        said, pipes, *_ = socket.recv_fds(self._control, len(ipc.FORK), 4)
        if not said:
            raise EOFError("the zygote has ended")
        self._control.send(ipc.FORK)
        return Decoder(*pipes)

    def retire(self) -> None:
        """Let it end with the last of its children that is at work."""
        self._control.close()

    def kill(self) -> None:
        """End it, and all its children with it."""
        self._control.close()
        self._process.kill()
        self._process.wait()

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

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


class Decoder:
    """One confined process, for one image."""

    def __init__(self, requests: int, replies: int, words: int, lifeline: int) -> None:
        self._requests, self._replies, self._words = requests, replies, words
        self._lifeline = socket.socket(fileno=lifeline)
        if sys.platform == "linux":
            with contextlib.suppress(PermissionError):  # so many pipes are as large that its user gets no more
                fcntl.fcntl(self._requests, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    def exchange(self, header: bytes, images: Sequence[bytes], max_body: int, until: float) -> tuple[bytes, bytes]:
        """Send a task and receive the reply, as header and body, until this time of the monotonic clock.

        Raises TimeoutError, BrokenPipeError or EOFError when it has ended, ValueError for a reply that is too long.
        """
        requests, replies = _Timed(self._requests, select.POLLOUT, until), _Timed(self._replies, select.POLLIN, until)
        for part in ipc.frame(header, images):
            requests.write_all(part)
        return ipc.read(cast("IO[bytes]", io.BufferedReader(replies)), max_body, _MAX_REPLY_HEADER)

    def end(self, *, wait: bool = False) -> tuple[int | None, str]:
        """Have it killed, or with `wait` let it finish dying by itself, so that we learn of what.

        Answers its exit status, as `subprocess` counts them, None if that cannot be known; and its last words.
        """
        status = self._read_status(_DYING_SECONDS) if wait else None
        if status is None:
            with contextlib.suppress(OSError):
                self._lifeline.shutdown(socket.SHUT_WR)
            status = self._read_status(_DYING_SECONDS)
        os.set_blocking(self._words, False)
        with contextlib.suppress(BlockingIOError):
            return status, os.read(self._words, _WORDS_BYTES).decode(errors="replace")
        return status, ""

    def close(self) -> None:
        """Give it up: if it has not ended yet, it is killed."""
        for pipe in (self._requests, self._replies, self._words):
            os.close(pipe)
        self._lifeline.close()

    def _read_status(self, seconds: float) -> int | None:
        self._lifeline.settimeout(seconds)
        try:
            status = self._lifeline.recv(ipc.NUMBER_BYTES)
        except OSError:
            return None
        return int.from_bytes(status, signed=True) if status else None


class _Timed(io.RawIOBase):
    """A pipe's end that waits no longer than until a time, of the monotonic clock. Raises TimeoutError."""

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
        return os.readv(self._pipe, [buffer])  # type: ignore[list-item]  # what BufferedReader hands over

    def write_all(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            self._wait()
            left = left[os.write(self._pipe, left) :]

    def _wait(self) -> None:
        if not self._poll.poll(max(0.0, self._until - time.monotonic()) * 1_000):
            raise TimeoutError


def describe(status: int | None) -> str:
    if status is None:
        return "SIGKILL"  # with the zygote, before it could tell
    return signal.Signals(-status).name if status < 0 else f"exit status {status}"
