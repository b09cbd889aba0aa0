"""Compare an image with its golden image by perceived color difference."""

from pathlib import Path

import pyvips
from pipeline.pictures import GOLDEN

_MEAN, _WORST = 1.0, 12.0  # CIEDE2000; about 1 is what a trained eye can just tell apart


def assert_looks_like_golden(actual: pyvips.Image, name: str) -> None:
    """Fail unless the image looks like `tests/golden/expected/<name>.png`. The message says how to accept it."""
    expected = GOLDEN / "expected" / f"{name}.png"
    difference = _difference(actual, expected)
    if difference is None:
        return
    kept = GOLDEN / "actual" / f"{name}.png"
    kept.parent.mkdir(exist_ok=True)
    actual.write_to_file(str(kept), keep="none")
    message = f"{name}: {difference}. If {kept} is right:  cp {kept} {expected}"
    raise AssertionError(message)


def _difference(actual: pyvips.Image, file: Path) -> str | None:
    if not file.exists():
        return "there is no golden image yet"
    expected = pyvips.Image.new_from_file(str(file))
    if (actual.width, actual.height, actual.hasalpha()) != (expected.width, expected.height, expected.hasalpha()):
        return f"{actual.width} x {actual.height}, expected {expected.width} x {expected.height}, or another alpha"
    # On white and on black, so that transparency is compared as well.
    for background in (255, 0):
        distance = _on(actual, background).dE00(_on(expected, background))
        if distance.avg() > _MEAN or distance.max() > _WORST:
            return f"colors differ by {distance.avg():.2f} on average and {distance.max():.1f} at worst"
    return None


def _on(image: pyvips.Image, background: int) -> pyvips.Image:
    return (image.flatten(background=background) if image.hasalpha() else image).colourspace("lab")
