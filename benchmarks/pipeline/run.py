"""Measure render() beside sharp and thumbor, and write docs/performance.md.

    python benchmarks/pipeline/run.py [SECONDS_PER_CELL]

Run in the project's environment, with node and npm on the path. Everything runs on one core, one contestant after the
other for each file. Peers and photographs are kept in .data/benchmarks.
"""

import json
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pyvips
import sources
from likeness import reference, ssim

from shared_lib.pipeline.box import ENVIRONMENT

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DATA = ROOT / ".data" / "benchmarks"
REPORT = ROOT / "docs" / "performance.md"
ENOUGH, WON = 1.05, 0.9  # times the faster peer

WHY = [
    "Where it is not reached, and why:",
    "",
    "* JPEG to 100 px: Pillow's libjpeg-turbo decodes a tenth faster than the mozjpeg in libvips' wheel, but keeps to",
    "  itself when data is missing, and such an image is to be refused. At 1 MP thumbor also lets JPEG's DCT do nearly",
    "  all of the scaling, which its SSIM shows.",
    "* Memory where the image itself takes little, at 1 MP and for any JPEG, scaled as it is decoded: an interpreter",
    "  with pydantic and libvips takes 47 MiB before the first image, thumbor's 37 MiB.",
    "* PNG, TIFF and GIF a little above: not in the same cells in the next run.",
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


def compare(seconds: str) -> list[dict[str, Any]]:
    thumbor = DATA / "thumbor" / "bin" / "python"
    as_in_the_box = [f"{name}={value}" for name, value in ENVIRONMENT.items()]
    rows = []
    for (name, megapixels), file in sources.make(DATA / "photographs").items():
        ours = ask("ours", ["env", *as_in_the_box, sys.executable, "ours.py"], file, seconds)
        sharp = ask("sharp", ["node", DATA / "sharp.mjs"], file, seconds)
        peers = [sharp, ask("thumbor", [thumbor, "thumbor_engine.py"], file, seconds)]
        alone = ask("alone", ["env", *as_in_the_box, sys.executable, "codecs_alone.py"], file, seconds)
        for cell, our in ours.items():
            theirs = [peer[cell] for peer in peers if cell in peer]
            row = {
                "source": f"{name} {megapixels} MP",
                "cell": cell,
                "ours": our,
                "peers": [peer.get(cell) for peer in peers],
                "ratio": our["ms"] / min(their["ms"] for their in theirs),
                "memory": our["mib"] / min(their["mib"] for their in theirs),
                "sharp": our["ms"] / sharp[cell]["ms"],
                "alone": our["ms"] / alone[cell]["ms"],
                "likeness": likeness(file, cell),
            }
            rows.append(row)
            print(f"{row['source']:12} {cell:20} {row['ratio']:.2f} of the faster, {row['memory']:.2f} of the smaller")
    return rows


def likeness(file: Path, cell: str) -> list[float]:
    """SSIM of what each of us made, against a resize without shortcuts; 0 where there is nothing."""
    side, fit, to = cell.split()
    values = []
    for name in ("ours", "sharp", "thumbor"):
        made = DATA / "made" / name / f"{side}-{fit}.{to}"
        if made.exists():
            image = pyvips.Image.new_from_file(str(made))
            values.append(ssim(image, reference(file, image.width, image.height, fit)))
        else:
            values.append(0.0)
    return values


def measure_box() -> list[dict[str, Any]]:
    files = [str(DATA / "photographs" / f"1mp.{suffix}") for suffix in ("jpg", "png", "webp", "avif")]
    done = subprocess.run([sys.executable, "box.py", *files], capture_output=True, text=True, check=True, cwd=HERE)
    return [json.loads(line) for line in done.stdout.splitlines()]


def report(rows: list[dict[str, Any]], added: list[dict[str, Any]]) -> str:
    def count(key: str, most: float) -> str:
        return f"{sum(row[key] <= most for row in rows)} of {len(rows)}"

    def result(answer: dict[str, Any] | None, alike: float) -> str:
        return f"{answer['ms']:.1f} / {answer['mib']:.0f} / {alike:.3f}" if answer else "-"

    alike = sum(row["likeness"][0] > row["likeness"][1] - 0.003 for row in rows)
    lines = [
        "# Performance of the pipeline",
        "",
        "Written by `python benchmarks/pipeline/run.py`; do not edit. Processor time per image, the best of many runs,",
        "on one core, and peak resident memory of the whole process. JPEG at quality 82, WebP at 80, for all alike.",
        "",
        "| | cells |",
        "|---|---|",
        f"| at most {ENOUGH} times sharp | {count('sharp', ENOUGH)} |",
        f"| at most {ENOUGH} times the faster of sharp and thumbor | {count('ratio', ENOUGH)} |",
        f"| below {WON} times the faster of the two | {count('ratio', WON)} |",
        f"| memory at most 1.1 times the smaller of the two | {count('memory', 1.1)} |",
        f"| at most 1.3 times decoding and encoding alone | {count('alone', 1.3)} |",
        f"| as like a resize without shortcuts as sharp's (SSIM, to 0.003) | {alike} of {len(rows)} |",
        "",
        "The decoder box adds "
        + ", ".join(f"{one['added']:.2f} ms to {one['file']}" for one in added)
        + " (by the clock, best of 100 each).",
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
    prepare_peers()
    measured = compare(sys.argv[1] if len(sys.argv) > 1 else "1")
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(report(measured, measure_box()))
    print(f"written: {REPORT}")
