"""Pixels: what may be asked of an image, and the box in which it is decoded, transformed and encoded.

Importing this package loads no imaging library: the HTTP functions read recipes here, and only the box's child
processes (`child`, which imports `render`) ever parse an untrusted byte.
"""

from shared_lib.pipeline.box import DecoderBox, DecoderCrashed
from shared_lib.pipeline.knowledge import Knowledge
from shared_lib.pipeline.limits import Limits
from shared_lib.pipeline.recipe import THUMBNAIL, Recipe
from shared_lib.pipeline.rendition import Refused, Rendered, Rendition

__all__ = [
    "THUMBNAIL",
    "DecoderBox",
    "DecoderCrashed",
    "Knowledge",
    "Limits",
    "Recipe",
    "Refused",
    "Rendered",
    "Rendition",
]
