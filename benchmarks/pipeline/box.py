"""What the decoder box adds to an image: the processor time of a thumbnail in this process, and of one made by the box.

In the box it is that of all processes: this one, the zygote, and the children that it has forked, each for one image.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from shared_lib.limits import Limits
from shared_lib.pipeline.recipe import THUMBNAIL
from shared_lib.pipeline.render import render
from shared_lib.pipeline.sandbox.pool import DecoderBox

ROUNDS = 100
limits = Limits()
box = DecoderBox(limits, children=1)
box.start()
(zygote,) = psutil.Process().children()


def spent_in_the_box() -> float:
    """Milliseconds until now; children count when they have ended."""
    times = zygote.cpu_times()
    return 1e3 * (time.process_time() + times.user + times.system + times.children_user + times.children_system)


def timed(work: Callable[[], object]) -> float:
    before = time.process_time()
    work()
    return (time.process_time() - before) * 1e3


for file in map(Path, sys.argv[1:]):
    data = file.read_bytes()
    here = sorted(timed(lambda data=data: render(data, [THUMBNAIL], limits)) for _ in range(ROUNDS))[ROUNDS // 2]
    before = spent_in_the_box()
    for _ in range(ROUNDS):
        box.render(data, [THUMBNAIL])
    there = (spent_in_the_box() - before) / ROUNDS
    print(json.dumps({"file": file.name, "here": here, "there": there, "added": there - here}))
box.close()
