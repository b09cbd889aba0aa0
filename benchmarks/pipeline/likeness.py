"""How alike a rendition is to the best that could be made: SSIM of lightness (Wang et al., 2004), 1 for the same."""

from functools import lru_cache
from pathlib import Path

import pyvips

_STABLE = (0.01 * 255) ** 2, (0.03 * 255) ** 2  # the paper's constants
_SIGMA = 1.5  # px, the paper's window


@lru_cache(maxsize=8)
def reference(source: Path, width: int, height: int, fit: str) -> pyvips.Image:
    """Resize without any shortcut: all pixels decoded, Lanczos 3 over all of them."""
    image = pyvips.Image.new_from_file(str(source)).copy_memory()
    if fit == "cover":
        scale = max(width / image.width, height / image.height)
        whole = image.resize(scale, gap=0)
        return whole.crop((whole.width - width) // 2, (whole.height - height) // 2, width, height).copy_memory()
    return image.resize(width / image.width, vscale=height / image.height, gap=0).copy_memory()


def ssim(rendition: pyvips.Image, best: pyvips.Image) -> float:
    a, b = (image.colourspace("b-w").cast("float") for image in (rendition, best.cast("uchar")))
    mean_a, mean_b = _blur(a), _blur(b)
    spread_a, spread_b = _blur(a * a) - mean_a * mean_a, _blur(b * b) - mean_b * mean_b
    together = _blur(a * b) - mean_a * mean_b
    alike = (mean_a * mean_b * 2 + _STABLE[0]) * (together * 2 + _STABLE[1])
    return float(
        (alike / ((mean_a * mean_a + mean_b * mean_b + _STABLE[0]) * (spread_a + spread_b + _STABLE[1]))).avg()
    )


def _blur(image: pyvips.Image) -> pyvips.Image:
    return image.gaussblur(_SIGMA, precision="float")
