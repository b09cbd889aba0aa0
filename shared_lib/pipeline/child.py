"""The process in the box: reads an image from its stdin, writes renditions to its stdout, until its stdin ends.

Started by `box` as `python -I -m shared_lib.pipeline.child LIMITS PARENT`, with no environment to speak of.
"""

import json
import os
import sys
from dataclasses import replace
from typing import IO
from uuid import UUID

from shared_lib.errors import FailureCode, Rejected
from shared_lib.limits import Limits
from shared_lib.pipeline import confinement, wire
from shared_lib.pipeline.render import render


def main() -> None:
    limits, parent = Limits(**json.loads(sys.argv[1])), int(sys.argv[2])
    requests, replies = sys.stdin.buffer, _claim_stdout()
    os.set_blocking(2, False)  # last words are for the parent, but chatter must not stop the work
    confinement.confine(limits)
    if os.getppid() != parent:
        return  # it died before the kernel was told to end us with it
    while True:
        try:
            header, body = wire.read(requests, limits.max_bytes)
        except EOFError:
            return
        confinement.grant_cpu(limits)
        reply, made = _carry_out(wire.Task.read(header), body, limits)
        wire.write(replies, wire.write_reply(reply), made)
        if isinstance(reply, wire.Refusal) and reply.code is FailureCode.DECODER_OUT_OF_MEMORY:
            return  # who knows which library is left in which state


def _carry_out(task: wire.Task, body: bytes, limits: Limits) -> tuple[wire.Answer | wire.Refusal, list[bytes]]:
    try:
        data, overlays = _take_apart(body, task.overlays)
        rendered = render(data, task.recipes, limits, overlays, learn=task.learn)
    except Rejected as reason:
        return _refuse(reason), []
    except MemoryError:
        return _refuse(limits.memory_exceeded), []
    told: dict[str, wire.Encoded | wire.Refusal] = {
        r.name: wire.Encoded(format=r.format, width=r.width, height=r.height, size=len(r.data))
        for r in rendered.renditions
    }
    told |= {r.recipe.name: _refuse(r.reason) for r in rendered.refused}
    outcomes = tuple(told[recipe.name] for recipe in task.recipes)
    knowledge = rendered.knowledge
    if knowledge is not None and not task.location:
        knowledge = replace(knowledge, location=None)
    answer = wire.Answer(
        format=rendered.format,
        width=rendered.width,
        height=rendered.height,
        renditions=outcomes,
        knowledge=knowledge,
    )
    return answer, [r.data for r in rendered.renditions]


def _refuse(reason: Rejected) -> wire.Refusal:
    return wire.Refusal(code=reason.failure, public=reason.public)


def _take_apart(body: bytes, sizes: dict[UUID, int]) -> tuple[bytes, dict[UUID, bytes]]:
    """The image, and those that are laid on it."""
    start = len(body) - sum(sizes.values())
    data = body[:start]
    overlays = {}
    for image, size in sizes.items():
        overlays[image] = body[start : start + size]
        start += size
    return data, overlays


def _claim_stdout() -> IO[bytes]:
    """Keep the way to the parent for ourselves: what a native library prints goes to stderr."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return replies


if __name__ == "__main__":
    main()
