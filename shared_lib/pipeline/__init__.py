"""Pixels: what may be asked of an image, and the box in which it is decoded, transformed and encoded.

Importing this package loads no imaging library: the HTTP functions read recipes here, and only the box's child
processes (`child`, which imports `render`) ever parse an untrusted byte.
"""

from shared_lib.limits import Limits
from shared_lib.pipeline.box import DecoderBox, DecoderCrashed
from shared_lib.pipeline.knowledge import Knowledge
from shared_lib.pipeline.recipe import PRESETS, THUMBNAIL, Recipe, Recipes, RenditionName, read_presets
from shared_lib.pipeline.rendition import Refused, Rendered, Rendition

__all__ = [
    "PRESETS",
    "THUMBNAIL",
    "DecoderBox",
    "DecoderCrashed",
    "Knowledge",
    "Limits",
    "Recipe",
    "Recipes",
    "Refused",
    "Rendered",
    "Rendition",
    "RenditionName",
    "read_presets",
]
