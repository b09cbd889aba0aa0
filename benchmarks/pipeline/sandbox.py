"""Measure the overhead of the sandbox: the processor time of a thumbnail in this process and in the sandbox.

In the sandbox it is the time of all processes: the caller, the zygote, and the workers, which it forks for one image
each.
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
    """Return processor time so far by kind of process, in ms. Workers count after they have ended."""
    times = zygote.cpu_times()
    return {
        "caller": 1e3 * time.process_time(),
        "zygote": 1e3 * (times.user + times.system),
        "workers": 1e3 * (times.children_user + times.children_system),
    }


def measure(call: Callable[[], object]) -> float:
    before = time.process_time()
    call()
    return (time.process_time() - before) * 1e3


for file in map(Path, sys.argv[1:]):
    data = file.read_bytes()
    direct = sorted(measure(lambda data=data: render(data, [THUMBNAIL], limits)) for _ in range(ROUNDS))[ROUNDS // 2]
    before = measure_processes()
    for _ in range(ROUNDS):
        sandbox.render(data, [THUMBNAIL])
    parts = {name: (spent - before[name]) / ROUNDS for name, spent in measure_processes().items()}
    sandboxed = sum(parts.values())
    print(
        json.dumps({"file": file.name, "direct": direct, "sandboxed": sandboxed, "added": sandboxed - direct, **parts})
    )
sandbox.close()
