"""Measure render() beside sharp and thumbor, and write docs/performance.md.

    python benchmarks/pipeline/run.py [SECONDS_PER_CELL]

Run in the project's environment, with node and npm on the path. Everything runs on one core, the contestants in turns
for each file, and of each the best round counts. Peers and photographs are kept in .data/benchmarks.
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
from cells import QUALITY
from likeness import reference, ssim

from shared_lib.pipeline.sandbox.processes import ENVIRONMENT

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DATA = ROOT / ".data" / "benchmarks"
REPORT = ROOT / "docs" / "performance.md"
AS_A_WORKER: list[str | Path] = ["env", *(f"{name}={value}" for name, value in ENVIRONMENT.items()), sys.executable]
PEERS = ("sharp", "thumbor")
ROUNDS = 3
ENOUGH, WON = 1.05, 0.9  # times the faster peer

WHY = [
    "Where it is not reached, and why:",
    "",
    "* JPEG of 1 MP to 100 px: thumbor lets the DCT do nearly all of the scaling, as its SSIM shows, and Pillow's",
    "  libjpeg-turbo decodes a tenth faster than libvips' mozjpeg, but keeps to itself when data is missing in",
    "  the middle, and such an image is to be refused.",
    "* To the codecs: resampling 1 MP to 800 px takes 2 ms, decoding and encoding JPEG no more than 6. At 12 MP half",
    "  the size would be enough to decode for 1600 px, but would leave the resampling too little: SSIM.",
    "* SSIM of a 1 MP JPEG that is encoded again at its size: standard Huffman tables take 4 % more bytes here, and",
    "  1 to 3 % elsewhere, for less than half of the encoder's time; `effort` above 5 has tables of its own made.",
]

Cells = dict[str, dict[str, Any]]


def prepare_peers() -> None:
    DATA.mkdir(parents=True, exist_ok=True)
    for file in ("package.json", "sharp.mjs"):
        shutil.copy(HERE / file, DATA)
    subprocess.run(["npm", "install", "--silent"], cwd=DATA, check=True)
    if not (DATA / "thumbor").exists():
        venv.create(DATA / "thumbor", with_pip=True)
        pip = [DATA / "thumbor" / "bin" / "pip", "install", "--quiet", "-r", HERE / "requirements.txt"]
        subprocess.run(pip, check=True)


def ask(name: str, command: list[str | Path], file: Path, seconds: str) -> Cells:
    """One contestant's answers for one file; none if it cannot read it."""
    made = DATA / "made" / name
    made.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["taskset", "-c", "0", *command, file, seconds, made], capture_output=True, text=True, check=False, cwd=HERE
    )
    return {answer["cell"]: answer for answer in map(json.loads, done.stdout.splitlines())}


def ask_in_turns(contestants: dict[str, list[str | Path]], file: Path, seconds: str) -> dict[str, Cells]:
    """Each one's least time and memory: what else the machine does seldom lasts for all rounds."""
    answers: dict[str, Cells] = {name: {} for name in contestants}
    for _ in range(ROUNDS):
        for name, command in contestants.items():
            for cell, answer in ask(name, command, file, seconds).items():
                best = answers[name].setdefault(cell, answer)
                best |= {measured: min(best[measured], answer[measured]) for measured in ("ms", "mib")}
    return answers


def compare(seconds: str) -> list[dict[str, Any]]:
    contestants = {
        "ours": [*AS_A_WORKER, "ours.py"],
        "sharp": ["node", DATA / "sharp.mjs"],
        "thumbor": [DATA / "thumbor" / "bin" / "python", "thumbor_engine.py"],
        "alone": [*AS_A_WORKER, "codecs_alone.py"],
    }
    rows = []
    for (name, megapixels), file in sources.make(DATA / "photographs").items():
        answers = ask_in_turns(contestants, file, seconds)
        for cell, our in answers["ours"].items():
            peers = [answers[peer].get(cell) for peer in PEERS]
            theirs = [peer for peer in peers if peer]
            sharp = answers["sharp"][cell]
            row = {
                "source": f"{name} {megapixels} MP",
                "cell": cell,
                "ours": our,
                "peers": peers,
                "ratio": our["ms"] / min(their["ms"] for their in theirs),
                "memory": our["mib"] / min(their["mib"] for their in theirs),
                "sharp": our["ms"] / sharp["ms"],
                "alone": our["ms"] / answers["alone"][cell]["ms"],
                "likeness": likeness(file, cell, sharp["bytes"]),
            }
            rows.append(row)
            print(f"{row['source']:12} {cell:20} {row['ratio']:.2f} of the faster, {row['memory']:.2f} of the smaller")
    return rows


def likeness(file: Path, cell: str, sharps_bytes: int) -> list[float]:
    """SSIM of what each of us made with a resize without shortcuts; of ours at as many bytes as sharp's."""
    side, fit, to = cell.split()

    def compare_with_best(data: bytes) -> float:
        image = pyvips.Image.new_from_buffer(data, "")
        return ssim(image, reference(file, image.width, image.height, fit))

    more: tuple[int, float] | None = None
    for quality in range(QUALITY[to], 0, -1):
        made = ours.make(file.read_bytes(), int(side), fit, to, quality)
        fewer = len(made), compare_with_best(made)
        if len(made) <= sharps_bytes:
            break
        more = fewer
    else:
        raise RuntimeError(f"no quality makes {cell} of {file.name} as small as sharp's")
    # Between the two qualities whose bytes are nearest; more than sharp's are asked for at none.
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

    def result(answer: dict[str, Any] | None, alike: float) -> str:
        return f"{answer['ms']:.1f} / {answer['mib']:.0f} / {alike:.3f}" if answer else "-"

    as_good = sum(row["likeness"][0] > row["likeness"][1] - 0.003 for row in rows)
    lines = [
        "# Performance of the pipeline",
        "",
        "Written by `python benchmarks/pipeline/run.py`; do not edit. Processor time per image, the best of many runs,",
        "on one core, and peak resident memory of the whole process. JPEG at quality 82, WebP at 80, for all alike;",
        "for SSIM (of lightness, with a resize without shortcuts) ours is lowered to have no more bytes than sharp's.",
        "",
        "| | cells |",
        "|---|---|",
        f"| at most {ENOUGH} times sharp | {count('sharp', ENOUGH)} |",
        f"| at most {ENOUGH} times the faster of sharp and thumbor | {count('ratio', ENOUGH)} |",
        f"| below {WON} times the faster of the two | {count('ratio', WON)} |",
        f"| memory at most 1.1 times the smaller of the two | {count('memory', 1.1)} |",
        f"| at most 1.3 times decoding and encoding alone | {count('alone', 1.3)} |",
        f"| SSIM no less than sharp's, to 0.003, at no more bytes | {as_good} of {len(rows)} |",
        "",
        "The sandbox adds "
        + ", ".join(f"{one['added']:.2f} ms to {one['file']}" for one in added)
        + " (processor time): a fork for each image, and the pages that it copies.",
        "",
        *WHY,
        "",
        "| source | rendition | ours: ms / MiB / SSIM | sharp | thumbor | time ratio | memory ratio | to codecs |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        ours, sharp, thumbor = map(result, [row["ours"], *row["peers"]], row["likeness"])
        ratio = f"**{row['ratio']:.2f}**" if row["ratio"] <= ENOUGH else f"{row['ratio']:.2f} ✗"
        lines.append(
            f"| {row['source']} | {row['cell']} | {ours} | {sharp} | {thumbor} | {ratio} "
            f"| {row['memory']:.2f} | {row['alone']:.2f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure render() beside sharp and thumbor.")
    parser.add_argument("seconds", nargs="?", type=float, default=1, help="per cell")
    asked = parser.parse_args()
    prepare_peers()
    measured = compare(f"{asked.seconds}")
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(report(measured, measure_sandbox()))
    print(f"written: {REPORT}")
