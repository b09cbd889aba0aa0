"""Make the source photographs of the benchmark: in every format, with 1, 12 and 50 megapixels."""

from pathlib import Path

import pyvips

PHOTOGRAPH = Path(__file__).parents[2] / "tests" / "golden" / "photographs" / "coffee.jpg"
WIDTHS = {1: 1_224, 12: 4_240, 50: 8_660}  # px, at 3:2
SUFFIXES = {
    "jpeg": ".jpg[Q=90]",
    "png": ".png[compression=6]",
    "webp": ".webp[Q=85,effort=2]",
    "avif": ".avif[Q=60,effort=0]",
    "tiff": ".tif[compression=lzw,predictor=horizontal]",
    "gif": ".gif[effort=1]",
}


def make(folder: Path) -> dict[tuple[str, int], Path]:
    """Write missing files. Return all of them by format and megapixels."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for megapixels, width in WIDTHS.items():
        for name, suffix in SUFFIXES.items():
            file = folder / f"{megapixels}mp{suffix.partition('[')[0]}"
            if not file.exists():
                _photograph(width).write_to_file(f"{file}[{suffix.partition('[')[2]}")
            files[name, megapixels] = file
    return files


def _photograph(width: int) -> pyvips.Image:
    """Enlarge the photograph and add a sensor's grain. Without it, codecs would be unrealistically fast."""
    image = pyvips.Image.new_from_file(str(PHOTOGRAPH))
    image = image.resize(width / image.width, kernel="cubic")
    grain = pyvips.Image.gaussnoise(image.width, image.height, sigma=5, seed=1)
    return (image + grain).cast("uchar").copy(interpretation="srgb")
