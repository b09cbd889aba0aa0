"""What each operation does to pixels; its description, with limits, is in `operations`."""

from collections.abc import Callable
from typing import Any

import pyvips

from shared_lib.pipeline import operations as op
from shared_lib.pipeline.effects import detail, geometry, shape, tone, watermark
from shared_lib.pipeline.effects.overlays import Overlays

Effect = Callable[[Any, pyvips.Image], pyvips.Image]
"""From an operation and an image in sRGB or gray, 8 bits a channel, with or without alpha, to the same."""

EFFECTS: dict[type[op.Operation], Effect] = {
    op.Resize: geometry.resize,
    op.Crop: geometry.crop,
    op.CropToRatio: geometry.crop_to_ratio,
    op.Extend: geometry.extend,
    op.Pad: geometry.pad,
    op.Trim: geometry.trim,
    op.Rotate: geometry.rotate,
    op.Flip: geometry.flip,
    op.Flop: geometry.flop,
    op.Blur: detail.blur,
    op.Sharpen: detail.sharpen,
    op.Median: detail.median,
    op.Pixelate: detail.pixelate,
    op.Brightness: tone.brightness,
    op.Contrast: tone.contrast,
    op.Saturation: tone.saturation,
    op.Hue: tone.hue,
    op.Gamma: tone.gamma,
    op.Grayscale: tone.grayscale,
    op.Sepia: tone.sepia,
    op.Tint: tone.tint,
    op.Duotone: tone.duotone,
    op.Invert: tone.invert,
    op.RoundCorners: shape.round_corners,
    op.Circle: shape.circle,
    op.Flatten: shape.flatten,
    op.Border: shape.border,
}


def apply(operation: op.Operation, image: pyvips.Image, overlays: Overlays) -> pyvips.Image:
    if isinstance(operation, op.Watermark | op.TextWatermark):
        return watermark.lay_on(operation, image, overlays)
    return EFFECTS[type(operation)](operation, image)
