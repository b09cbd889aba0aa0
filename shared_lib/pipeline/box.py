"""The decoder box: child processes that decode untrusted images, so that what an image does, it does to a child.

The parent's side. It loads no imaging library, and believes nothing that comes back beyond the forms in `wire`.
"""

import contextlib
import fcntl
import json
import math
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import cache
from typing import IO, cast
from uuid import UUID

from pydantic import TypeAdapter

from shared_lib.errors import FailureCode, Rejected, ServiceError
from shared_lib.limits import Limits
from shared_lib.pipeline import font, wire
from shared_lib.pipeline.recipe import Recipe
from shared_lib.pipeline.rendition import Refused, Rendered, Rendition

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

# How Rust, GLib, glibc, C++ and Python word it before they end a process that they cannot give any more.
_OUT_OF_MEMORY = re.compile(r"memory allocation of|(failed to|cannot) allocate|bad_alloc|MemoryError")

# The most that Linux gives an ordinary user's pipe: a PNG of 1.7 MB goes through in 0.3 ms, not 1.2.
_PIPE_BYTES = 1 << 20
_DYING_SECONDS = 5  # between closing its pipes and being gone


class DecoderCrashed(ServiceError):
    """A child died in the middle of an image, by itself. The image may be to blame, or may not: count, and retry."""

    code = FailureCode.DECODER_CRASHED.value


class DecoderBox:
    """As many children as there are cores, started when first needed, shared by any number of threads.

    Make one per process, after it has forked: a child that two processes talk to would mix up their images.
    """

    def __init__(self, limits: Limits, *, children: int = os.cpu_count() or 1) -> None:
        self._limits = limits
        # Last in, first out: a warm child is preferred to starting another.
        self._idle: queue.LifoQueue[_Child | None] = queue.LifoQueue()
        for _ in range(children):
            self._idle.put(None)
        # Children die with the thread that started them (see `confinement`), so it must be one that stays.
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="decoder-box")

    def render(
        self,
        data: bytes,
        recipes: Sequence[Recipe],
        overlays: Mapping[UUID, bytes] | None = None,
        *,
        learn: bool = False,
        location: bool = False,
    ) -> Rendered:
        """Make each recipe's rendition of the image; waits while all children are busy.

        With `learn` it is told what there is to know of the image, but where it was taken only with `location` as well.

        `overlays` are the encoded images that recipes name in `Recipe.overlays`. One that is not among them, or cannot
        be used, is a reason to refuse the recipe, and no other; all together have no more bytes than one image may.

        Raises Rejected for an image that is refused for good, and DecoderCrashed when its child died.
        """
        overlays = overlays or {}
        self._limits.hold_file(len(data) + sum(map(len, overlays.values())))
        child = self._idle.get()
        try:
            if child is None or child.is_spent:
                child = self._replace(child)
            sizes = {image: len(overlay) for image, overlay in overlays.items()}
            task = wire.Task(recipes=tuple(recipes), overlays=sizes, learn=learn, location=location)
            return child.render(task, [data, *overlays.values()])
        finally:
            self._idle.put(child)

    def close(self) -> None:
        """End all children, busy ones with their images. Whoever calls `render` afterwards gets a RuntimeError."""
        self._starter.shutdown()
        for _ in range(self._idle.qsize()):
            child = self._idle.get()
            if child is not None:
                child.end()
        self._idle.put(None)

    def _replace(self, child: "_Child | None") -> "_Child":
        if child is not None:
            child.end()
        return self._starter.submit(_Child, self._limits).result()


class _Child:
    """One child process and the way to talk to it; used by one thread at a time."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._images = 0
        self._leaves = False  # it told us that it ends, but may still be there
        self._due = math.inf  # when the image that it has must be done
        self._is_late = False
        self._verdict = threading.Lock()  # an image is either late or done
        self._ended = threading.Event()
        self._process = subprocess.Popen(  # noqa: S603  # our own module, by our own interpreter
            [sys.executable, "-I", "-m", "shared_lib.pipeline.child", json.dumps(asdict(limits)), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
            start_new_session=True,  # a Ctrl-C is for the parent, which then closes the box
        )
        self._requests = cast("IO[bytes]", self._process.stdin)
        self._replies = cast("IO[bytes]", self._process.stdout)
        self._words = cast("IO[bytes]", self._process.stderr)
        os.set_blocking(self._words.fileno(), False)
        if sys.platform == "linux":
            with contextlib.suppress(PermissionError):  # so many pipes are as large that its user gets no more
                fcntl.fcntl(self._requests, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        threading.Thread(target=self._keep_time, name="decoder-time", daemon=True).start()

    @property
    def is_spent(self) -> bool:
        return (
            self._leaves
            or self._is_late
            or self._images >= self._limits.images_per_child
            or self._process.poll() is not None
        )

    def render(self, task: wire.Task, images: list[bytes]) -> Rendered:
        self._images += 1
        self._due = time.monotonic() + self._limits.wall_seconds
        try:
            reply, body = self._exchange(task, images)
            if isinstance(reply, wire.Answer):
                return _assemble(reply, body, task)
        except (EOFError, BrokenPipeError) as error:
            raise self._end_of() from error
        except ValueError as error:  # a reply that makes no sense: someone else speaks for the child
            self._process.kill()
            raise self._end_of() from error
        finally:
            with self._verdict:
                self._due = math.inf
        self._leaves = reply.code is FailureCode.DECODER_OUT_OF_MEMORY
        raise Rejected(reply.code, reply.public)

    def end(self) -> None:
        self._ended.set()
        self._process.kill()
        self._process.wait()
        for pipe in (self._requests, self._replies, self._words):
            with contextlib.suppress(BrokenPipeError):  # what was still to be sent is of no interest any more
                pipe.close()

    def _exchange(self, task: wire.Task, images: list[bytes]) -> tuple[wire.Answer | wire.Refusal, bytes]:
        wire.write(self._requests, task.write(), images)
        header, body = wire.read(self._replies, self._limits.max_output_bytes)
        self._words.read()  # nothing that matters, or the child would have died of it
        return read_reply(header), body

    def _keep_time(self) -> None:
        """Kill it when an image takes too long.

        One thread for all of its images: to start one for each takes 0.4 ms. It looks up at least as often as one image
        may take, and so before any that has begun meanwhile is due.
        """
        while not self._ended.wait(min(self._due - time.monotonic(), self._limits.wall_seconds)):
            with self._verdict:
                self._is_late = time.monotonic() >= self._due
            if self._is_late:
                self._process.kill()
                return

    def _end_of(self) -> ServiceError:
        """Name what ended the child, or what it did to be ended now."""
        self._ended.set()
        status = self._await_end()
        last_words = (self._words.read() or b"").decode(errors="replace")
        if self._is_late:
            return self._limits.wall_exceeded
        if status == -signal.SIGXCPU:
            return self._limits.cpu_exceeded
        if _OUT_OF_MEMORY.search(last_words):
            return self._limits.memory_exceeded
        crash = DecoderCrashed(f"The decoder ended abnormally ({_describe(status)}).")
        crash.add_note(last_words[-2_000:])
        return crash

    def _await_end(self) -> int:
        """Let it finish dying, so that we learn of what; kill it if it only pretends."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(_DYING_SECONDS)
        self._process.kill()
        return self._process.wait()


@cache
def _reply() -> TypeAdapter[wire.Answer | wire.Refusal]:
    """Made when first needed: every function imports this room, and only the processor hears from a child."""
    return TypeAdapter(wire.Answer | wire.Refusal)


def read_reply(header: bytes) -> wire.Answer | wire.Refusal:
    """Raises ValidationError, a ValueError, for what no child of ours would say."""
    return _reply().validate_json(header)


def _describe(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"exit status {status}"


def _assemble(answer: wire.Answer, body: bytes, task: wire.Task) -> Rendered:
    """Join what the child made with what was asked for: recipes are ours, not the child's to choose.

    Raises ValueError if the one does not fit the other.
    """
    renditions, refused = [], []
    start = 0
    for recipe, told in zip(task.recipes, answer.renditions, strict=True):
        if isinstance(told, wire.Refusal):
            refused.append(Refused(recipe, Rejected(told.code, told.public)))
            continue
        data = body[start : start + told.size]
        start += told.size
        renditions.append(Rendition(recipe, told.format, told.width, told.height, data))
    if start != len(body):
        raise ValueError("the sizes do not add up to the body")
    knowledge = answer.knowledge
    if task.learn != (knowledge is not None) or (knowledge and knowledge.location and not task.location):
        raise ValueError("not what was to be learnt")
    return Rendered(answer.format, answer.width, answer.height, tuple(renditions), tuple(refused), knowledge)
