"""The decoder box: child processes that decode untrusted images, so that what an image does, it does to a child.

The parent's side. It loads no imaging library, and believes nothing that comes back beyond the forms in `wire`: not the
formats that a child claims, nor sizes that nobody allowed.
"""

import contextlib
import os
import re
import signal
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from uuid import UUID

from pydantic import TypeAdapter

from shared_lib.errors import FailureCode, Rejected, ServiceError
from shared_lib.limits import Limits
from shared_lib.observability import get_logger
from shared_lib.pipeline.formats import sniff
from shared_lib.pipeline.recipe import Recipe
from shared_lib.pipeline.rendition import FailedRecipe, Rendered, Rendition, possible_formats
from shared_lib.pipeline.sandbox import ipc
from shared_lib.pipeline.sandbox.confinement import hide_memory
from shared_lib.pipeline.sandbox.processes import PROGRAM, Decoder, Unconfined, Zygote, describe

log = get_logger()

# How Rust, GLib, glibc, C++ and Python word it before they end a process that they cannot give any more.
_OUT_OF_MEMORY = re.compile(r"memory allocation of|(failed to|cannot) allocate|bad_alloc|MemoryError")


class DecoderBroke(ServiceError):
    """There is neither a result nor a refusal. The image may be to blame, or may not: count, and retry."""


class DecoderCrashed(DecoderBroke):
    """A child died in the middle of an image, by itself, or said what no child of ours says."""

    code = FailureCode.DECODER_CRASHED.value


class DecoderFailed(DecoderBroke):
    """A child met a mistake of ours, and lived to tell it."""

    code = FailureCode.INTERNAL_ERROR.value


class DecoderBox:
    """As many decoders at a time as there are cores, shared by any number of threads; each image has one of its own.

    Make one per process, after it has forked: decoders die with the thread that asks for the first one.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        children: int = os.cpu_count() or 1,
        required: bool = True,
        program: Sequence[str] = PROGRAM,
    ) -> None:
        """With `required`, nothing is decoded where the kernel cannot confine a decoder."""
        self._limits = limits
        self._program = program
        self._required = required
        self._children = children
        self._slots = threading.Semaphore(children)
        self._starting = threading.Lock()
        self._zygote: Zygote | None = None
        self._retired: list[Zygote] = []
        # The zygote dies with the thread that started it (see `confinement`), so it must be one that stays.
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="decoder-box")

    @property
    def missing(self) -> tuple[str, ...]:
        """What the kernel does not have to confine a decoder with, as far as one was started."""
        zygote = self._zygote
        return zygote.missing if zygote else ()

    def start(self) -> None:
        """Start the zygote, if it is not there. Raises Unconfined, DecoderCrashed, and RuntimeError after `close`."""
        with self._starting:
            self._ensure_zygote()

    def render(
        self,
        data: bytes,
        recipes: Sequence[Recipe],
        overlays: Mapping[UUID, bytes] | None = None,
        *,
        learn: bool = False,
        location: bool = False,
    ) -> Rendered:
        """Make each recipe's rendition of the image; waits while all decoders are busy.

        With `learn` it is told what there is to know of the image. Where it was taken is told, and kept in renditions
        that keep metadata, only with `location`.

        `overlays` are the encoded images that recipes name in `Recipe.overlays`. One that is not among them, or cannot
        be used, is a reason to refuse the recipe, and no other; all together have no more bytes than one image may.

        Raises Rejected for an image that is refused for good, DecoderCrashed when its child died, DecoderFailed when we
        made a mistake, and Unconfined when nothing is decoded here.
        """
        overlays = overlays or {}
        self._limits.enforce_file(len(data) + sum(map(len, overlays.values())))
        sizes = {image: len(overlay) for image, overlay in overlays.items()}
        task = ipc.Task(recipes=tuple(recipes), overlays=sizes, learn=learn, location=location)
        with self._slots, contextlib.closing(self._take()) as decoder:
            return self._render(decoder, task, data, overlays.values())

    def close(self) -> None:
        """End all children, busy ones with their images. Whoever calls `render` afterwards gets a RuntimeError."""
        with self._starting:
            self._starter.shutdown()
            self._drop_zygote()
            for zygote in self._retired:
                zygote.kill()

    def _take(self) -> Decoder:
        with self._starting:
            try:
                return self._ensure_zygote().take()
            except (OSError, EOFError):  # it has died since
                self._drop_zygote()
            try:
                return self._ensure_zygote().take()
            except (OSError, EOFError) as error:
                self._drop_zygote()
                raise DecoderCrashed("No decoder could be started.") from error

    def _ensure_zygote(self) -> Zygote:
        if self._zygote is None:
            try:
                self._zygote = self._starter.submit(self._start_zygote).result()
            except Unconfined as error:
                log.error("sandbox_incomplete", reason=error.public)  # noqa: TRY400  it is no mistake of the code
                raise
            if self._zygote.missing:
                log.warning("sandbox_incomplete", missing=self._zygote.missing, setting="PROCESSING_SANDBOX")
        return self._zygote

    def _drop_zygote(self) -> None:
        if self._zygote:
            self._zygote.kill()
            self._zygote = None

    def _start_zygote(self) -> Zygote:
        hide_memory()  # where Landlock is missing, a decoder could read our environment
        return Zygote(self._limits, required=self._required, spares=self._children, program=self._program)

    def _render(self, decoder: Decoder, task: ipc.Task, data: bytes, overlays: Iterable[bytes]) -> Rendered:
        until = time.monotonic() + self._limits.wall_seconds
        try:
            header, body = decoder.exchange(task.write(), [data, *overlays], self._limits.max_output_bytes, until)
            reply = read_reply(header)
            if isinstance(reply, ipc.Answer):
                return _assemble(reply, body, task, data, self._limits)
        except TimeoutError as error:
            decoder.end()
            raise self._limits.wall_exceeded from error
        except (EOFError, BrokenPipeError) as error:
            raise self._end_of(decoder, wait=True) from error
        except ValueError as error:  # a reply that makes no sense: someone else speaks for the child
            raise self._end_of(decoder, wait=False) from error
        if isinstance(reply, ipc.Failure):
            log.error("decoder_failed", trace=reply.trace)
            raise DecoderFailed("Something went wrong on our side.")
        log.info("image_refused", code=reply.code, cause=reply.cause)
        raise Rejected(reply.code, reply.public)

    def _end_of(self, decoder: Decoder, *, wait: bool) -> ServiceError:
        """Name what ended the child, or what it did to be ended now."""
        status, last_words = decoder.end(wait=wait)
        if status == -signal.SIGXCPU:
            return self._limits.cpu_exceeded
        if _OUT_OF_MEMORY.search(last_words):
            return self._limits.memory_exceeded
        log.error("decoder_crashed", status=describe(status), words=ascii(last_words[-2_000:]))
        self._renew()
        return DecoderCrashed(f"The decoder ended abnormally ({describe(status)}).")

    def _renew(self) -> None:
        """Have the next decoders forked from another zygote, whose addresses are others.

        An image that crashed its decoder may have been feeling for where things lie: each fork has its zygote's.
        """
        with self._starting:
            self._retired = [zygote for zygote in self._retired if not zygote.has_ended]
            if self._zygote:
                self._zygote.retire()
                self._retired.append(self._zygote)
                self._zygote = None


@cache
def _reply() -> TypeAdapter[ipc.Reply]:
    """Made when first needed: every function imports this room, and only the processor hears from a child."""
    return TypeAdapter(ipc.Reply)


def read_reply(header: bytes) -> ipc.Reply:
    """Raises ValidationError, a ValueError, for what no child of ours would say."""
    return _reply().validate_json(header)


def _assemble(answer: ipc.Answer, body: bytes, task: ipc.Task, original: bytes, limits: Limits) -> Rendered:
    """Join what the child made with what was asked for: recipes are ours, not the child's to choose.

    Raises ValueError if the one does not fit the other, or the bytes are not what the child says they are.
    """
    if answer.format is not sniff(original) or not answer.fits(limits.max_side, limits.max_pixels):
        raise ValueError("not what the image is")
    renditions, refused = [], []
    start = 0
    for recipe, told in zip(task.recipes, answer.renditions, strict=True):
        if isinstance(told, ipc.Refusal):
            log.info("rendition_refused", name=recipe.name, code=told.code, cause=told.cause)
            refused.append(FailedRecipe(recipe, Rejected(told.code, told.public)))
            continue
        data = body[start : start + told.size]
        start += told.size
        if told.format is not sniff(data) or told.format not in possible_formats(recipe.output, answer.format):
            raise ValueError("not a rendition of the format that was asked for")
        if not told.fits(limits.max_output_side, limits.max_output_pixels):
            raise ValueError("a rendition larger than any may be")
        renditions.append(Rendition(recipe, told.format, told.width, told.height, data))
    if start != len(body):
        raise ValueError("the sizes do not add up to the body")
    knowledge = answer.knowledge
    if task.learn != (knowledge is not None) or (knowledge and knowledge.location and not task.location):
        raise ValueError("not what was to be learnt")
    return Rendered(answer.format, answer.width, answer.height, tuple(renditions), tuple(refused), knowledge)
