"""What becomes of hostile files, held against what was recorded.

    make hostile                 judge all, print what differs from the record, and fail if anything does
    make hostile bless=yes       judge all, and make it the record

Thousands of public test images and fuzzers' finds, mutants of them and of our own, and bombs: each is given to the
sandbox as `process_image` gives it; then all but the mutants to a running service.
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

# Seeds by the endings of their names: how many of each kind, and how many mutants of each seed.
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
_BROKEN = re.compile("afl|fuzz|crash|fail|invalid|bad|trunc")  # by its name: mutants of it would tell little

ALL_FRAMES = read_recipe(
    {
        "name": "all-frames",
        "operations": [{"kind": "resize", "width": 400, "height": 400, "fit": "inside", "enlarge": False}],
        "output": {"format": "webp", "animation": "keep", "metadata": "keep"},
    }
)
"""What asks for more than a thumbnail: every pixel of every frame, and metadata."""


def collect_corpus() -> tuple[dict[str, bytes], list[str]]:
    """All files by source and path, each but once, and what could not be had."""
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
    parser.add_argument("--bless", action="store_true", help="record what is found")
    parser.add_argument("--no-service", action="store_true", help="the sandbox alone")
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
    complaints = [f"missing: {each}" for each in missing]
    for part in found.values():
        complaints += [f"{verdict}: {name}" for name, verdict in part.items() if verdict in UNEXPLAINED]
    if not options.no_service:
        expected = verdicts.keep_choices(_read("corpus"), found["corpus"] | found["bombs"])
        complaints += check_service(files | traps, expected)
    complaints += bless(found, missing) if options.bless else compare(found)
    print("\n".join(complaints) or "As recorded.")
    raise SystemExit(bool(complaints))


def check_service(files: Mapping[str, bytes], expected: Verdicts) -> list[str]:
    """Give all to a running service, in an order that mixes them. What is not as it should be."""
    order = sorted(files)
    random.Random(4).shuffle(order)
    began = time.monotonic()
    found, seen = processor.process({name: files[name] for name in order})
    looks = f"{seen.health.total()} looks at {len(seen.workers[0])} processes"
    print(f"Service: {len(found):,} images in {time.monotonic() - began:.0f} s, {looks}")
    for part in ("processor", "decoders"):
        sizes = ", ".join(f"{size:.0f}" for size in seen.summarise_memory(part))
        print(f"  memory of the {part} after warming up, medians of four stretches: {sizes} MiB")
    return [*seen.list_complaints(), *verdicts.describe_changes(expected, found)]


def compare(found: Mapping[str, Verdicts]) -> list[str]:
    lines = []
    for part, now in found.items():
        changes = verdicts.describe_changes(_read(part), now)
        lines += [f"{part}, recorded -> found:", *changes] if changes else []
    return lines


def bless(found: Mapping[str, Verdicts], missing: list[str]) -> list[str]:
    """Make it the record, if it is all of it."""
    if missing:
        return ["Nothing was recorded: it would not be all."]
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
