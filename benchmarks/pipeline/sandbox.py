"""Measure the overhead of the sandbox: the processor time of a thumbnail in this process and in the sandbox.

    python benchmarks/pipeline/sandbox.py [--images-per-worker 1] [--metadata] FILE…

In the sandbox it is the time of all processes: the caller, the zygote, and the workers that it forks.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from shared_lib.limits import Limits
from shared_lib.pipeline.recipe import THUMBNAIL
from shared_lib.pipeline.render import render
from shared_lib.pipeline.sandbox.pool import Sandbox

ROUNDS = 100
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--images-per-worker", type=int, default=1)
parser.add_argument("--metadata", action="store_true", help="extract metadata as well")
parser.add_argument("files", nargs="*", type=Path)
arguments = parser.parse_args()
with_metadata = arguments.metadata
limits = Limits()
sandbox = Sandbox(limits, workers=1, images_per_worker=arguments.images_per_worker)
sandbox.start()
(zygote,) = psutil.Process().children()


def measure_processes() -> dict[str, float]:
    """Return processor time so far by kind of process, in ms."""
    times = zygote.cpu_times()
    living = sum(sum(worker.cpu_times()[:2]) for worker in zygote.children())
    return {
        "caller": 1e3 * time.process_time(),
        "zygote": 1e3 * (times.user + times.system),
        "workers": 1e3 * (times.children_user + times.children_system + living),
    }


def measure(call: Callable[[], object]) -> float:
    before = time.process_time()
    call()
    return (time.process_time() - before) * 1e3


for file in arguments.files:
    data = file.read_bytes()
    times = [
        measure(lambda data=data: render(data, [THUMBNAIL], limits, with_metadata=with_metadata)) for _ in range(ROUNDS)
    ]
    direct = sorted(times)[ROUNDS // 2]
    before = measure_processes()
    for _ in range(ROUNDS):
        sandbox.render(data, [THUMBNAIL], with_metadata=with_metadata)
    parts = {name: (spent - before[name]) / ROUNDS for name, spent in measure_processes().items()}
    sandboxed = sum(parts.values())
    print(
        json.dumps({"file": file.name, "direct": direct, "sandboxed": sandboxed, "added": sandboxed - direct, **parts})
    )
sandbox.close()
