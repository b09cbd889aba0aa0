"""Compare a rendition with the best possible one: SSIM of lightness (Wang et al., 2004), 1 for equal images."""

from functools import lru_cache
from pathlib import Path

import pyvips

_STABLE = (0.01 * 255) ** 2, (0.03 * 255) ** 2  # the paper's constants
_SIGMA = 1.5  # px, the paper's window


@lru_cache(maxsize=8)
def reference(source: Path, width: int, height: int, fit: str) -> pyvips.Image:
    """Resize without shortcuts: decode all pixels, and apply Lanczos 3 to all of them."""
    image = pyvips.Image.new_from_file(str(source)).copy_memory()
    if fit == "cover":
        scale = max(width / image.width, height / image.height)
        whole = image.resize(scale, gap=0)
        return whole.crop((whole.width - width) // 2, (whole.height - height) // 2, width, height).copy_memory()
    return image.resize(width / image.width, vscale=height / image.height, gap=0).copy_memory()


def ssim(rendition: pyvips.Image, best: pyvips.Image) -> float:
    a, b = (image.colourspace("b-w").cast("float") for image in (rendition, best.cast("uchar")))
    mean_a, mean_b = _blur(a), _blur(b)
    variance_a, variance_b = _blur(a * a) - mean_a * mean_a, _blur(b * b) - mean_b * mean_b
    covariance = _blur(a * b) - mean_a * mean_b
    numerator = (mean_a * mean_b * 2 + _STABLE[0]) * (covariance * 2 + _STABLE[1])
    return float(
        (numerator / ((mean_a * mean_a + mean_b * mean_b + _STABLE[0]) * (variance_a + variance_b + _STABLE[1]))).avg()
    )


def _blur(image: pyvips.Image) -> pyvips.Image:
    return image.gaussblur(_SIGMA, precision="float")
