"""Compare render() with sharp and thumbor, and write docs/performance.md.

    python benchmarks/pipeline/run.py [SECONDS_PER_CASE]

Run this in the project's environment, with node and npm on the path. Everything runs on one core. The programs take
turns for each file, and the best round of each counts. sharp, thumbor and the photographs are kept in .data/benchmarks.
"""

import argparse
import json
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import ours
import pyvips
import sources
from harness import QUALITY
from similarity import reference, ssim

from shared_lib.pipeline.sandbox.processes import ENVIRONMENT

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DATA = ROOT / ".data" / "benchmarks"
REPORT = ROOT / "docs" / "performance.md"
AS_A_WORKER: list[str | Path] = [
    "env",
    *(f"{name}={value}" for name, value in ENVIRONMENT.items()),
    sys.executable,
]
PEERS = ("sharp", "thumbor")
ROUNDS = 3
ON_PAR, FASTER = 1.05, 0.9  # times the faster peer

WHY = [
    "Cases that miss the targets, and why:",
    "",
    "* JPEG of 1 MP to 100 px: thumbor leaves nearly all of the scaling to the DCT, as its SSIM shows. Also, Pillow's",
    "  libjpeg-turbo decodes a tenth faster than libvips' mozjpeg. But it does not report missing data in the middle",
    "  of a file, and such an image must be rejected.",
    "* Compared with the codecs alone: resampling 1 MP to 800 px takes 2 ms, and decoding and encoding JPEG at most 6.",
    "  At 12 MP, decoding at half the size would be enough for 1600 px, but would lower the SSIM.",
    "* SSIM of a 1 MP JPEG that is encoded again at its size: standard Huffman tables need 4 % more bytes here, and 1",
    "  to 3 % elsewhere, for less than half of the encoder's time. An `effort` above 5 computes optimal tables.",
]

Cases = dict[str, dict[str, Any]]


def prepare_peers() -> None:
    DATA.mkdir(parents=True, exist_ok=True)
    for file in ("package.json", "sharp.mjs"):
        shutil.copy(HERE / file, DATA)
    subprocess.run(["npm", "install", "--silent"], cwd=DATA, check=True)
    if not (DATA / "thumbor").exists():
        venv.create(DATA / "thumbor", with_pip=True)
        pip = [DATA / "thumbor" / "bin" / "pip", "install", "--quiet", "-r", HERE / "requirements.txt"]
        subprocess.run(pip, check=True)


def run(name: str, command: list[str | Path], file: Path, seconds: str) -> Cases:
    """Return one program's results for a file. Empty if it cannot read the file."""
    renditions = DATA / "made" / name
    renditions.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["taskset", "-c", "0", *command, file, seconds, renditions],
        capture_output=True,
        text=True,
        check=False,
        cwd=HERE,
    )
    return {result["case"]: result for result in map(json.loads, done.stdout.splitlines())}


def run_in_turns(programs: dict[str, list[str | Path]], file: Path, seconds: str) -> dict[str, Cases]:
    """Return each program's least time and memory over all rounds, since other load rarely lasts that long."""
    results: dict[str, Cases] = {name: {} for name in programs}
    for _ in range(ROUNDS):
        for name, command in programs.items():
            for case, result in run(name, command, file, seconds).items():
                best = results[name].setdefault(case, result)
                best |= {measured: min(best[measured], result[measured]) for measured in ("ms", "mib")}
    return results


def compare(seconds: str) -> list[dict[str, Any]]:
    programs = {
        "ours": [*AS_A_WORKER, "ours.py"],
        "sharp": ["node", DATA / "sharp.mjs"],
        "thumbor": [DATA / "thumbor" / "bin" / "python", "thumbor_engine.py"],
        "alone": [*AS_A_WORKER, "codecs_alone.py"],
    }
    rows = []
    for (name, megapixels), file in sources.make(DATA / "photographs").items():
        results = run_in_turns(programs, file, seconds)
        for case, our in results["ours"].items():
            peers = [results[peer].get(case) for peer in PEERS]
            theirs = [peer for peer in peers if peer]
            sharp = results["sharp"][case]
            row = {
                "source": f"{name} {megapixels} MP",
                "case": case,
                "ours": our,
                "peers": peers,
                "ratio": our["ms"] / min(their["ms"] for their in theirs),
                "memory": our["mib"] / min(their["mib"] for their in theirs),
                "sharp": our["ms"] / sharp["ms"],
                "alone": our["ms"] / results["alone"][case]["ms"],
                "ssim": compare_quality(file, case, sharp["bytes"]),
            }
            rows.append(row)
            print(f"{row['source']:12} {case:20} {row['ratio']:.2f} of the faster, {row['memory']:.2f} of the smaller")
    return rows


def compare_quality(file: Path, case: str, sharps_bytes: int) -> list[float]:
    """Return the SSIM of each rendition: ours at as many bytes as sharp's, then sharp's and thumbor's."""
    side, fit, to = case.split()

    def compare_with_best(data: bytes) -> float:
        image = pyvips.Image.new_from_buffer(data, "")
        return ssim(image, reference(file, image.width, image.height, fit))

    more: tuple[int, float] | None = None
    for quality in range(QUALITY[to], 0, -1):
        rendition = ours.make(file.read_bytes(), int(side), fit, to, quality)
        fewer = len(rendition), compare_with_best(rendition)
        if len(rendition) <= sharps_bytes:
            break
        more = fewer
    else:
        raise RuntimeError(f"no quality makes {case} of {file.name} as small as sharp's")
    # Interpolate between the two qualities with the nearest sizes, unless the first is small enough.
    our = fewer[1]
    if more:
        our += (more[1] - our) * (sharps_bytes - fewer[0]) / (more[0] - fewer[0])
    return [our, *(compare_with_best((DATA / "made" / name / f"{side}-{fit}.{to}").read_bytes()) for name in PEERS)]


def measure_sandbox() -> list[dict[str, Any]]:
    files = [str(DATA / "photographs" / f"1mp.{suffix}") for suffix in ("jpg", "png", "webp", "avif")]
    done = subprocess.run([*AS_A_WORKER, "sandbox.py", *files], capture_output=True, text=True, check=True, cwd=HERE)
    return [json.loads(line) for line in done.stdout.splitlines()]


def report(rows: list[dict[str, Any]], added: list[dict[str, Any]]) -> str:
    def count(key: str, most: float) -> str:
        return f"{sum(row[key] <= most for row in rows)} of {len(rows)}"

    def result(measured: dict[str, Any] | None, similarity: float) -> str:
        return f"{measured['ms']:.1f} / {measured['mib']:.0f} / {similarity:.3f}" if measured else "-"

    as_good = sum(row["ssim"][0] > row["ssim"][1] - 0.003 for row in rows)
    lines = [
        "# Performance of the pipeline",
        "",
        "Written by `python benchmarks/pipeline/run.py`. Do not edit.",
        "",
        "The table shows processor time per image (the best of many runs, on one core) and the peak resident memory of",
        "the whole process. All encode JPEG at quality 82 and WebP at 80. SSIM compares the lightness with a resize",
        "without shortcuts. For SSIM, our quality is lowered until the file is no larger than sharp's.",
        "",
        "| result | cases |",
        "|---|---|",
        f"| at most {ON_PAR} times sharp | {count('sharp', ON_PAR)} |",
        f"| at most {ON_PAR} times the faster of sharp and thumbor | {count('ratio', ON_PAR)} |",
        f"| below {FASTER} times the faster of the two | {count('ratio', FASTER)} |",
        f"| memory at most 1.1 times the smaller of the two | {count('memory', 1.1)} |",
        f"| at most 1.3 times decoding and encoding alone | {count('alone', 1.3)} |",
        f"| SSIM no less than sharp's, to 0.003, at no more bytes | {as_good} of {len(rows)} |",
        "",
        "The sandbox adds "
        + ", ".join(f"{one['added']:.2f} ms to {one['file']}" for one in added)
        + " (processor time). This is the cost of a fork for each image and of the pages that it copies.",
        "",
        *WHY,
        "",
        "| source | rendition | ours: ms / MiB / SSIM | sharp | thumbor | time ratio | memory ratio | to codecs |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        ours, sharp, thumbor = map(result, [row["ours"], *row["peers"]], row["ssim"])
        ratio = f"**{row['ratio']:.2f}**" if row["ratio"] <= ON_PAR else f"{row['ratio']:.2f} ✗"
        lines.append(
            f"| {row['source']} | {row['case']} | {ours} | {sharp} | {thumbor} | {ratio} "
            f"| {row['memory']:.2f} | {row['alone']:.2f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Compare render() with sharp and thumbor.")
    parser.add_argument("seconds", nargs="?", type=float, default=1, help="per case")
    arguments = parser.parse_args()
    prepare_peers()
    measured = compare(f"{arguments.seconds}")
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(report(measured, measure_sandbox()))
    print(f"Written: {REPORT}")
