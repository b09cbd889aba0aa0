"""One image's process: reads the image from a pipe, writes its renditions to another, and ends.

Forked by `zygote`, and confined before it reads anything.
"""

import fcntl
import os
from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

from shared_lib.errors import Rejected
from shared_lib.limits import Limits
from shared_lib.pipeline.render import render
from shared_lib.pipeline.sandbox import confinement, ipc

Work = Callable[[ipc.Task, bytes, Limits], tuple[ipc.Reply, list[bytes]]]

_REPLIES = 3  # after stdin, stdout and stderr
_OUT_OF_THE_WAY = 50


def run(pipes: tuple[int, int, int], limits: Limits, work: Work, *, required: bool) -> None:
    """Read one task, do the work, reply. `pipes` are for requests, replies, and whatever libraries print.

    Raises RuntimeError, and reads nothing, when confinement is required and not to be had.
    """
    _keep_only(*pipes)
    if confinement.confine_child(limits) and required:
        raise RuntimeError("the kernel confined the zygote's children before, and not this one")
    with os.fdopen(0, "rb", closefd=False) as requests, os.fdopen(_REPLIES, "wb", closefd=False) as replies:
        try:
            header, body = ipc.read(requests, limits.max_bytes)
        except EOFError:
            return
        reply, made = work(ipc.Task.read(header), body, limits)
        replies.writelines(ipc.frame(ipc.write_reply(reply), made))


def decode(task: ipc.Task, body: bytes, limits: Limits) -> tuple[ipc.Reply, list[bytes]]:
    """Make what the task asks for."""
    try:
        data, overlays = _take_apart(body, task.overlays)
        rendered = render(data, task.recipes, limits, overlays, learn=task.learn, location=task.location)
    except Rejected as reason:
        return ipc.Refusal.of(reason), []
    except MemoryError:
        return ipc.Refusal.of(limits.memory_exceeded), []
    except Exception as error:  # noqa: BLE001  the parent logs it
        return ipc.Failure.of(error), []
    told: dict[str, ipc.Encoded | ipc.Refusal] = {
        r.name: ipc.Encoded(format=r.format, width=r.width, height=r.height, size=len(r.data))
        for r in rendered.renditions
    }
    told |= {r.recipe.name: ipc.Refusal.of(r.reason) for r in rendered.failed}
    outcomes = tuple(told[recipe.name] for recipe in task.recipes)
    knowledge = rendered.knowledge
    if knowledge is not None and not task.location:
        knowledge = replace(knowledge, location=None)
    answer = ipc.Answer(
        format=rendered.format,
        width=rendered.width,
        height=rendered.height,
        renditions=outcomes,
        knowledge=knowledge,
    )
    return answer, [r.data for r in rendered.renditions]


def _take_apart(body: bytes, sizes: dict[UUID, int]) -> tuple[bytes, dict[UUID, bytes]]:
    """The image, and those that are laid on it."""
    start = len(body) - sum(sizes.values())
    data = body[:start]
    overlays = {}
    for image, size in sizes.items():
        overlays[image] = body[start : start + size]
        start += size
    return data, overlays


def _keep_only(requests: int, replies: int, words: int) -> None:
    """Close all that the zygote has open but these, which become 0, 3, and 1 and 2 for what libraries print."""
    moved = [fcntl.fcntl(pipe, fcntl.F_DUPFD, _OUT_OF_THE_WAY) for pipe in (requests, words, words, replies)]
    for number, pipe in enumerate(moved):
        os.dup2(pipe, number)
    os.closerange(len(moved), os.sysconf("SC_OPEN_MAX"))
    os.set_blocking(2, False)  # last words are for the parent, but chatter must not stop the work
