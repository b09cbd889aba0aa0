"""What the decoder box adds to an image: the same thumbnail in this process and in a child, in turns; best of each."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from shared_lib.limits import Limits
from shared_lib.pipeline.box import DecoderBox
from shared_lib.pipeline.recipe import THUMBNAIL
from shared_lib.pipeline.render import render

limits = Limits()
box = DecoderBox(limits, children=1)


def timed(work: Callable[[], object]) -> float:
    before = time.perf_counter()
    work()
    return (time.perf_counter() - before) * 1e3


for file in map(Path, sys.argv[1:]):
    data = file.read_bytes()
    here, there = [], []
    for _ in range(300):
        here.append(timed(lambda data=data: render(data, [THUMBNAIL], limits)))
        there.append(timed(lambda data=data: box.render(data, [THUMBNAIL])))
    print(json.dumps({"file": file.name, "here": min(here), "there": min(there), "added": min(there) - min(here)}))
box.close()
