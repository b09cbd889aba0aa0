"""The sandbox: untrusted images are decoded in worker processes, so that a hostile image harms only its worker.

This is the parent's side. It loads no imaging library, and validates every reply: the messages of `ipc`, the formats
that a worker claims, and all sizes.
"""

import os
import re
import signal
import threading
import time
from collections.abc import Callable, Container, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

from shared_lib import metrics, tracing
from shared_lib.errors import Rejected, ServiceError, WorkerCrashed, WorkerError, WorkerFailed
from shared_lib.limits import Limits
from shared_lib.observability import get_logger
from shared_lib.pipeline.formats import Format, sniff
from shared_lib.pipeline.recipe import Recipe
from shared_lib.pipeline.rendition import FailedRecipe, Rendered, Rendition, possible_formats
from shared_lib.pipeline.sandbox import ipc
from shared_lib.pipeline.sandbox.confinement import hide_memory
from shared_lib.pipeline.sandbox.processes import PROGRAM, NoWorker, SandboxIncomplete, Worker, Zygote, describe
from shared_lib.validation import adapt

log = get_logger()

# The messages of Rust, GLib, glibc, C++ and Python before they end a process that is out of memory.
_OUT_OF_MEMORY = re.compile(r"memory allocation of|(failed to|cannot) allocate|bad_alloc|MemoryError")


class Sandbox:
    """A pool of workers, one per core, shared by any number of threads. By default each image has a worker of its own.

    Create one per process, after the process has forked.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        workers: int = os.cpu_count() or 1,
        images_per_worker: int = 1,
        required: bool = True,
        program: Sequence[str] = PROGRAM,
    ) -> None:
        """With `required`, decode nothing where the kernel cannot confine a worker.

        A worker stays for up to `images_per_worker` images of one tenant. Each image beyond the first takes half the
        processor time, but an image that takes over its worker can read and falsify the ones that follow in it.
        """
        self._limits = limits
        self._program = program
        self._required = required
        self._workers = workers
        self._images_per_worker = images_per_worker
        self._slots = threading.Semaphore(workers)
        self._starting = threading.Lock()
        self._zygote: Zygote | None = None
        self._retired: list[Zygote] = []
        # The zygote dies with the thread that started it (see `confinement`), so that thread must stay.
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="sandbox")

    @property
    def missing(self) -> tuple[str, ...]:
        """The kernel features that confinement lacks; empty before the first start."""
        zygote = self._zygote
        return zygote.missing if zygote else ()

    def start(self) -> None:
        """Start the zygote, unless it runs. Raises SandboxIncomplete, OSError, and RuntimeError after `close`."""
        with self._starting:
            self._ensure_zygote()

    def render(  # noqa: PLR0913  a job's fields, and whose it is
        self,
        data: bytes,
        recipes: Sequence[Recipe],
        overlays: Mapping[UUID, bytes] | None = None,
        *,
        tenant: str = "",
        with_metadata: bool = False,
        with_location: bool = False,
        charge: Callable[[float], object] = lambda _: None,
    ) -> Rendered:
        """Make each recipe's rendition of the image. Waits while all workers are busy.

        With `with_metadata`, the image's metadata is extracted as well. Only `with_location` includes where it was
        taken, in the metadata and in renditions that keep metadata.

        `overlays` are the encoded images named in `Recipe.overlays`. A recipe fails alone if its overlay is missing
        or unusable. All of them together may have no more bytes than one image. The worker decodes no other tenant's
        images, before or after. `charge` is called with the seconds for which a worker was busy, also after a failure.

        Raises Rejected if the image cannot be processed, WorkerCrashed if its worker died, WorkerFailed for a bug of
        ours, SandboxIncomplete if nothing may be decoded here, and NoWorker if nothing can be at the moment.
        """
        overlays = overlays or {}
        self._limits.enforce_file(len(data) + sum(map(len, overlays.values())))
        job = ipc.Job(
            recipes=tuple(recipes),
            overlays={image: len(overlay) for image, overlay in overlays.items()},
            with_metadata=with_metadata,
            with_location=with_location,
        )
        began = None
        try:
            with tracing.span("render"), metrics.JOBS.time(_label), self._slots:
                began = time.monotonic()
                return self._render_with_worker(job, [data, *overlays.values()], tenant)
        finally:
            if began is not None:
                charge(time.monotonic() - began)

    def _render_with_worker(self, job: ipc.Job, images: Sequence[bytes], tenant: str) -> Rendered:
        until = time.monotonic() + self._limits.wall_seconds
        worker = self._take(tenant)
        is_new = not worker.images
        try:
            return self._run(worker, job, images, until)
        except (Rejected, WorkerError):
            if is_new or time.monotonic() > until:
                raise
        # An image before may have used up a limit, or damaged the worker. A new one decides.
        return self._run(self._take(tenant, new=True), job, images, until)

    def close(self) -> None:
        """Kill all workers, busy ones with their images. Calling `render` afterwards raises RuntimeError."""
        with self._starting:
            self._starter.shutdown()
            self._drop_zygote()
            for zygote in self._retired:
                zygote.kill()

    def _take(self, tenant: str, *, new: bool = False) -> Worker:
        with self._starting:
            try:
                return self._ensure_zygote().take(tenant, new=new)
            except (OSError, EOFError):  # it has died since
                self._drop_zygote()
            try:
                return self._ensure_zygote().take(tenant, new=new)
            except (OSError, EOFError) as error:
                self._drop_zygote()
                raise NoWorker from error

    def _ensure_zygote(self) -> Zygote:
        if self._zygote is None:
            try:
                self._zygote = self._starter.submit(self._start_zygote).result()
            except SandboxIncomplete as error:
                log.error("sandbox_incomplete", reason=error.public)  # noqa: TRY400  it is no bug
                raise
            if self._zygote.missing:
                log.warning("sandbox_incomplete", missing=self._zygote.missing, setting="PROCESSING_SANDBOX")
        return self._zygote

    def _drop_zygote(self) -> None:
        if self._zygote:
            self._zygote.kill()
            self._zygote = None

    def _start_zygote(self) -> Zygote:
        hide_memory()  # without Landlock, a worker could read our environment
        return Zygote(
            self._limits,
            required=self._required,
            spares=self._workers,
            images_per_worker=self._images_per_worker,
            program=self._program,
        )

    def _run(self, worker: Worker, job: ipc.Job, images: Sequence[bytes], until: float) -> Rendered:
        """Have the worker carry out the job. Then keep it if it stays, and close it otherwise."""
        stays = False
        try:
            rendered, stays = self._render(worker, job, images, until)
        finally:
            if not stays:
                worker.close()
        if stays:
            with self._starting:
                worker.zygote.keep(worker)
        return rendered

    def _render(self, worker: Worker, job: ipc.Job, images: Sequence[bytes], until: float) -> tuple[Rendered, bool]:
        """Return the renditions, and whether the worker waits for another image. `images[0]` is the job's own."""
        try:
            header, body = worker.exchange(job.write(), images, self._limits.max_output_bytes, until)
            reply = read_reply(header)
            if isinstance(reply, ipc.Result):
                return _assemble(reply, body, job, images[0], self._limits), reply.stays
        except TimeoutError as error:
            worker.end()
            raise self._limits.wall_exceeded from error
        except (EOFError, BrokenPipeError) as error:
            raise self._explain_end(worker, wait=True) from error
        except ValueError as error:  # an invalid reply: the image has taken over its worker
            raise self._explain_end(worker, wait=False) from error
        if isinstance(reply, ipc.JobError):
            log.error("worker_failed", trace=reply.trace)
            raise WorkerFailed("Something went wrong on our side.")
        log.info("image_rejected", code=reply.code, cause=reply.cause)
        raise Rejected(reply.code, reply.public)

    def _explain_end(self, worker: Worker, *, wait: bool) -> ServiceError:
        """Return the error for a worker that has died, or that must be ended now."""
        status, stderr = worker.end(wait=wait)
        if status == -signal.SIGXCPU:
            return self._limits.cpu_exceeded
        if _OUT_OF_MEMORY.search(stderr):
            return self._limits.memory_exceeded
        log.error("worker_crashed", status=describe(status), stderr=ascii(stderr[-2_000:]))
        self._renew()
        return WorkerCrashed(f"The decoder ended abnormally ({describe(status)}).")

    def _renew(self) -> None:
        """Fork the next workers from a new zygote, whose addresses differ.

        An image that crashed its worker may have been probing addresses, and all forks of a zygote share them.
        """
        with self._starting:
            self._retired = [zygote for zygote in self._retired if not zygote.has_ended]
            if self._zygote:
                self._zygote.retire()
                self._retired.append(self._zygote)
                self._zygote = None


def _label(error: BaseException | None) -> metrics.Job:
    outcomes = {Rejected: "rejected", WorkerCrashed: "crashed"}
    return metrics.Job(outcomes.get(type(error), "errored") if error else "rendered")


def read_reply(header: bytes) -> ipc.Reply:
    """Raises ValidationError, a ValueError, for a reply that no worker of ours writes."""
    reply: ipc.Reply = adapt(ipc.Reply).validate_json(header)
    return reply


def _assemble(result: ipc.Result, body: bytes, job: ipc.Job, original: bytes, limits: Limits) -> Rendered:
    """Join the worker's result with the job: recipes are ours, and not the worker's to choose.

    Raises ValueError if they do not match, or if the bytes are not what the worker claims.
    """
    if result.format is not sniff(original) or not result.fits(limits.max_side, limits.max_pixels):
        raise ValueError("the original's format or size is wrong")
    renditions, failed = [], []
    start = 0
    for recipe, outcome in zip(job.recipes, result.renditions, strict=True):
        if isinstance(outcome, ipc.RecipeError):
            log.info("recipe_failed", name=recipe.name, code=outcome.code, cause=outcome.cause)
            failed.append(FailedRecipe(recipe, Rejected(outcome.code, outcome.public)))
            continue
        data = body[start : start + outcome.size]
        start += outcome.size
        _check(outcome, data, possible_formats(recipe.output, result.format), limits)
        renditions.append(Rendition(recipe, outcome.format, outcome.width, outcome.height, data))
    if start != len(body):
        raise ValueError("the sizes do not add up to the body")
    metadata = result.metadata
    if job.with_metadata != (metadata is not None) or (metadata and metadata.location and not job.with_location):
        raise ValueError("the metadata is not what was requested")
    return Rendered(result.format, result.width, result.height, tuple(renditions), tuple(failed), metadata)


def _check(rendition: ipc.EncodedRendition, data: bytes, formats: Container[Format], limits: Limits) -> None:
    if rendition.format is not sniff(data) or rendition.format not in formats:
        raise ValueError("a rendition's format is not the requested one")
    if not rendition.fits(limits.max_output_side, limits.max_output_pixels):
        raise ValueError("a rendition is larger than allowed")
