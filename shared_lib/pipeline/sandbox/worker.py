"""A worker: read an image from a pipe, write its renditions to another, and exit.

Forked by `zygote`, and confined before it reads anything. If the settings allow more than one image, it stays for the
next one after each success, unless it has used much memory or processor time.
"""

import fcntl
import gc
import os
import resource
import time
from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

from shared_lib.errors import Rejected
from shared_lib.limits import Limits
from shared_lib.pipeline.render import render
from shared_lib.pipeline.rendition import Rendered
from shared_lib.pipeline.sandbox import confinement, ipc

Handler = Callable[[ipc.Job, bytes, Limits], tuple[ipc.Reply, list[bytes]]]
"""Carry out a job on a message's body. Return the reply and the parts of its body."""

_REPLIES = 3  # the first descriptor after stdin, stdout and stderr
_OUT_OF_THE_WAY = 50
# RLIMIT_CPU and RLIMIT_AS apply to the whole life of a worker. One that has used more than this exits, so that the next
# image has nearly all of both. If that is not enough, `pool` has it rendered again by a new worker, which has all.
_MAX_SECONDS = 1
_MAX_GROWTH = 64 << 10  # of resident memory, KiB, at its peak


def run(
    pipes: tuple[int, int, int], limits: Limits, handler: Handler, *, required: bool = True, images: int = 1
) -> None:
    """Read jobs, carry them out, and reply, up to this number. `pipes` are for requests, replies, and stderr.

    Raises RuntimeError, and reads nothing, if confinement is required and unavailable.
    """
    _keep_only(*pipes)
    if confinement.confine_worker(limits) and required:
        raise RuntimeError("the kernel confined earlier workers, but not this one")
    gc.disable()  # a job leaves few cycles
    memory = _peak_memory()
    with os.fdopen(0, "rb", closefd=False) as requests, os.fdopen(_REPLIES, "wb", closefd=False) as replies:
        for left in reversed(range(images)):
            try:
                header, body = ipc.read(requests, limits.max_bytes)
            except EOFError:
                return
            reply, parts = handler(ipc.Job.read(header), body, limits)
            is_worn = time.process_time() > _MAX_SECONDS or _peak_memory() - memory > _MAX_GROWTH
            if isinstance(reply, ipc.Result):
                reply = replace(reply, stays=left > 0 and not is_worn)
            replies.writelines(ipc.frame(ipc.write_reply(reply), parts))
            if not (isinstance(reply, ipc.Result) and reply.stays):
                return
            replies.flush()
            del header, body, reply, parts  # hold nobody's image while waiting for the next
            gc.collect()


def _peak_memory() -> int:
    """Return this process's peak of resident memory, KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def render_job(job: ipc.Job, body: bytes, limits: Limits) -> tuple[ipc.Reply, list[bytes]]:
    """Make the job's renditions."""
    try:
        data, overlays = _split(body, job.overlays)
        rendered = render(
            data, job.recipes, limits, overlays, with_metadata=job.with_metadata, with_location=job.with_location
        )
    except Rejected as reason:
        return ipc.ImageError.of(reason), []
    except MemoryError:
        return ipc.ImageError.of(limits.memory_exceeded), []
    except Exception as error:  # noqa: BLE001  the parent logs it
        return ipc.JobError.of(error), []
    return _describe(job, rendered), [each.data for each in rendered.renditions]


def _describe(job: ipc.Job, rendered: Rendered) -> ipc.Result:
    outcomes: dict[str, ipc.EncodedRendition | ipc.RecipeError] = {
        each.name: ipc.EncodedRendition(format=each.format, width=each.width, height=each.height, size=len(each.data))
        for each in rendered.renditions
    }
    outcomes |= {each.recipe.name: ipc.RecipeError.of(each.reason) for each in rendered.failed}
    metadata = rendered.metadata
    if metadata is not None and not job.with_location:
        metadata = replace(metadata, location=None)
    return ipc.Result(
        format=rendered.format,
        width=rendered.width,
        height=rendered.height,
        renditions=tuple(outcomes[recipe.name] for recipe in job.recipes),
        metadata=metadata,
    )


def _split(body: bytes, sizes: dict[UUID, int]) -> tuple[bytes, dict[UUID, bytes]]:
    """Return the image and its overlays."""
    start = len(body) - sum(sizes.values())
    data = body[:start]
    overlays = {}
    for image, size in sizes.items():
        overlays[image] = body[start : start + size]
        start += size
    return data, overlays


def _keep_only(requests: int, replies: int, stderr: int) -> None:
    """Make these pipes 0, 3, and 1 and 2, and close every other descriptor of the zygote's."""
    moved = [fcntl.fcntl(pipe, fcntl.F_DUPFD, _OUT_OF_THE_WAY) for pipe in (requests, stderr, stderr, replies)]
    for number, pipe in enumerate(moved):
        os.dup2(pipe, number)
    os.closerange(len(moved), os.sysconf("SC_OPEN_MAX"))
    os.set_blocking(2, False)  # the parent reads the end of stderr, but chatter must not stop the work
