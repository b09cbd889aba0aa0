"""The cost of the sandbox: processor time of a thumbnail made in this process, and of one made in the sandbox.

The sandbox's is that of all processes: the caller, the zygote, and the workers, each of which it forks for one image.
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
from shared_lib.pipeline.sandbox.pool import Sandbox

ROUNDS = 100
limits = Limits()
sandbox = Sandbox(limits, workers=1)
sandbox.start()
(zygote,) = psutil.Process().children()


def measure_processes() -> dict[str, float]:
    """Processor time of each kind of process until now, ms. Workers count once they have exited."""
    times = zygote.cpu_times()
    return {
        "caller": 1e3 * time.process_time(),
        "zygote": 1e3 * (times.user + times.system),
        "workers": 1e3 * (times.children_user + times.children_system),
    }


def measure(work: Callable[[], object]) -> float:
    before = time.process_time()
    work()
    return (time.process_time() - before) * 1e3


for file in map(Path, sys.argv[1:]):
    data = file.read_bytes()
    here = sorted(measure(lambda data=data: render(data, [THUMBNAIL], limits)) for _ in range(ROUNDS))[ROUNDS // 2]
    before = measure_processes()
    for _ in range(ROUNDS):
        sandbox.render(data, [THUMBNAIL])
    parts = {name: (spent - before[name]) / ROUNDS for name, spent in measure_processes().items()}
    there = sum(parts.values())
    print(json.dumps({"file": file.name, "here": here, "there": there, "added": there - here, **parts}))
sandbox.close()
