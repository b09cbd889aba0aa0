"""Process hostile files, and compare the verdicts with the recorded ones.

    make hostile                 process all, print differences from the record, and fail if there are any
    make hostile bless=yes       process all, and update the record

The files are thousands of public test images and findings of fuzzers, mutants of these and of our own images, and
bombs. The sandbox processes each as in `process_image`. Then all but the mutants go to a running service.
"""

import argparse
import hashlib
import os
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hostile import bombs, corpus, drawings, processor, verdicts
from hostile.mutants import mutate
from hostile.verdicts import UNEXPLAINED, Verdicts, judge
from pipeline.pictures import FORMATS, PHOTOGRAPHS, sample

from shared_lib.limits import Limits
from shared_lib.pipeline.recipe_schema import read_recipe
from shared_lib.pipeline.sandbox.pool import Sandbox

CACHE = Path("build/hostile")
RECORD = Path(__file__).parent / "recorded"
THREADS = os.cpu_count() or 1

# Seeds by file name extension: how many files of each, and below how many mutants of each file.
SEEDS = {
    "jpe?g": 150,
    "png": 150,
    "gif": 150,
    "webp": 50,
    "avif": 60,
    "tiff?": 150,
    "svg": 150,
    "bmp": 40,
    "hei[cf]": 40,
    "jxl": 20,
}
MUTANTS = 10
MUTANTS_OF_OURS = 100
SEED_BYTES = 60_000
_BROKEN = re.compile("afl|fuzz|crash|fail|invalid|bad|trunc")  # broken by its name: mutants of it would show little

ALL_FRAMES = read_recipe(
    {
        "name": "all-frames",
        "operations": [{"kind": "resize", "width": 400, "height": 400, "fit": "inside", "enlarge": False}],
        "output": {"format": "webp", "animation": "keep", "metadata": "keep"},
    }
)
"""Needs more than a thumbnail does: every pixel of every frame, and metadata."""


def collect_corpus() -> tuple[dict[str, bytes], list[str]]:
    """Return all distinct files by source and path, and the sources that are missing."""
    files: dict[str, bytes] = {}
    seen, missing = set(), []
    for source in corpus.read_sources():
        try:
            archive = source.fetch(CACHE)
        except corpus.Missing as reason:
            missing.append(str(reason))
            continue
        for path, data in corpus.read_images(source, archive):
            digest = hashlib.sha256(data).digest()
            if digest not in seen:
                seen.add(digest)
                files[f"{source.name.rpartition('/')[2]}-{source.version}/{path}"] = data
    return files, missing


def make_mutants(files: Mapping[str, bytes]) -> dict[str, bytes]:
    seeds: dict[str, tuple[bytes, int]] = {}
    for ending, count in SEEDS.items():
        names = [
            name
            for name, data in files.items()
            if re.search(rf"\.{ending}$", name, re.IGNORECASE) and len(data) <= SEED_BYTES and not _BROKEN.search(name)
        ]
        seeds |= {
            name: (files[name], MUTANTS) for name in random.Random(ending).sample(sorted(names), min(count, len(names)))
        }
    seeds |= {f"ours/{name}": (sample(name), MUTANTS_OF_OURS) for name in FORMATS}
    seeds |= {f"ours/{path.name}": (path.read_bytes(), MUTANTS_OF_OURS) for path in PHOTOGRAPHS}
    return {
        f"{name}#{number}": mutate(data, f"{name}#{number}")
        for name, (data, count) in seeds.items()
        for number in range(count)
    }


def make_bombs() -> dict[str, bytes]:
    return {f"raster/{name}": data for name, data in bombs.make_all().items()} | {
        f"drawings/{name}": data for name, data in drawings.make_all().items()
    }


def judge_all(title: str, files: Mapping[str, bytes], judge_one: Callable[[bytes], str]) -> Verdicts:
    began = time.monotonic()
    with ThreadPoolExecutor(THREADS) as threads:
        found = dict(zip(files, threads.map(judge_one, files.values()), strict=True))
    megabytes = sum(map(len, files.values())) / 1e6
    print(f"{title}: {len(files):,} files, {megabytes:,.0f} MB, in {time.monotonic() - began:.0f} s")
    for verdict, count in Counter(found.values()).most_common():
        print(f"  {verdict:<21} {count:>6,}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bless", action="store_true", help="update the record")
    parser.add_argument("--no-service", action="store_true", help="use only the sandbox")
    options = parser.parse_args()

    files, missing = collect_corpus()
    traps = make_bombs()
    sandbox = Sandbox(Limits(), workers=THREADS)
    found = {
        "corpus": judge_all("Corpus", files, lambda data: judge(sandbox, data)),
        "bombs": judge_all("Bombs", traps, lambda data: judge(sandbox, data)),
        "frames": judge_all(
            "Bombs, all frames",
            {name: data for name, data in traps.items() if name.startswith("raster/")},
            lambda data: judge(sandbox, data, ALL_FRAMES),
        ),
        "mutants": judge_all("Mutants", make_mutants(files), lambda data: judge(sandbox, data)),
    }
    sandbox.close()
    problems = [f"missing: {each}" for each in missing]
    for part in found.values():
        problems += [f"{verdict}: {name}" for name, verdict in part.items() if verdict in UNEXPLAINED]
    if not options.no_service:
        expected = verdicts.keep_choices(_read("corpus"), found["corpus"] | found["bombs"])
        problems += check_service(files | traps, expected)
    problems += bless(found, missing) if options.bless else compare(found)
    print("\n".join(problems) or "As recorded.")
    raise SystemExit(bool(problems))


def check_service(files: Mapping[str, bytes], expected: Verdicts) -> list[str]:
    """Upload all to a running service, in mixed order. Return what is wrong."""
    order = sorted(files)
    random.Random(4).shuffle(order)
    began = time.monotonic()
    found, seen = processor.process({name: files[name] for name in order})
    checks = f"{seen.health.total()} checks of {len(seen.servers[0])} processes"
    print(f"Service: {len(found):,} images in {time.monotonic() - began:.0f} s, {checks}")
    for part in ("processor", "workers"):
        sizes = ", ".join(f"{size:.0f}" for size in seen.summarize_memory(part))
        print(f"  memory of the {part} after warming up, medians of four periods: {sizes} MiB")
    return [*seen.list_problems(), *verdicts.describe_changes(expected, found)]


def compare(found: Mapping[str, Verdicts]) -> list[str]:
    lines = []
    for part, now in found.items():
        changes = verdicts.describe_changes(_read(part), now)
        lines += [f"{part}, recorded -> found:", *changes] if changes else []
    return lines


def bless(found: Mapping[str, Verdicts], missing: list[str]) -> list[str]:
    """Update the record, if it is complete."""
    if missing:
        return ["The record was not updated: it would not be complete."]
    print("\n".join(compare(found)))
    RECORD.mkdir(exist_ok=True)
    for part, now in found.items():
        write = verdicts.write_rows if part == "mutants" else verdicts.write_list
        write(RECORD / f"{part}.txt", verdicts.keep_choices(_read(part), now))
    return []


def _read(part: str) -> Verdicts:
    read = verdicts.read_rows if part == "mutants" else verdicts.read_list
    return read(RECORD / f"{part}.txt")


if __name__ == "__main__":
    main()
