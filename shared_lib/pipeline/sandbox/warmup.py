"""Load libraries, create classes and make first calls once, in the zygote, so that no worker has to.

All of it without a second thread, which a fork would cut off in the middle of something: a thread that requests a
region of an image computes it itself, whereas libvips' encoders and `copy_memory` start threads.
Measured for a 1600 x 1200 px JPEG: a worker takes 2.7 ms less, of 16, as little as one forked after a whole rendering.
The font of text watermarks is left to the worker that needs it, 10 ms, because Pango starts a thread to find it.
"""

import importlib
import io
from pathlib import Path

import pyvips
from PIL import Image
from pyvips.voperation import Introspect

from shared_lib.limits import Limits
from shared_lib.pipeline.color import to_srgb
from shared_lib.pipeline.decode import decode, inspect
from shared_lib.pipeline.formats import Format, has_codec, import_codec
from shared_lib.pipeline.metadata import hashes
from shared_lib.pipeline.metadata.exif import read_exif
from shared_lib.pipeline.source import DecodePlan

# Each worker that needs them would take 37 and 3 ms to load them, and 40 and 16 for the codecs.
_LIBRARIES = ("shared_lib.pipeline.codecs.svg", "PIL.ImageCms")
# libvips' operations that most images need, and that `warm_up` does not call.
_OPERATIONS = ("jpegsave_buffer", "pngsave_buffer", "webpsave_buffer", "shrink", "ifthenelse", "flatten", "embed")
_SIDE = 32  # px


def warm_up() -> None:
    """Raises RuntimeError if a library has started a thread."""
    for library in _LIBRARIES:
        importlib.import_module(library)
    for form in Format:
        if form.info.codec and has_codec(form):
            import_codec(form)
    for operation in _OPERATIONS:
        Introspect.get(operation)
    photograph = Image.radial_gradient("L").resize((2 * _SIDE, 2 * _SIDE)).convert("RGB")
    for name in ("JPEG", "PNG", "WEBP"):
        file = io.BytesIO()
        photograph.save(file, name)
        source = inspect(file.getvalue(), Limits())
        image = to_srgb(decode(source, DecodePlan(1.0, animated=False)).resize(0.5).crop(0, 0, _SIDE // 2, _SIDE // 2))
        pyvips.Region.new(image).fetch(0, 0, image.width, image.height)
    _hash(photograph.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR))
    read_exif(b"")
    tasks = Path("/proc/self/task")
    if tasks.is_dir() and len(list(tasks.iterdir())) > 1:
        raise RuntimeError("a library has started a thread, so a fork of this process could hang")


def _hash(image: Image.Image) -> None:
    opaque = image.convert("RGBA")
    hashes.thumb_hash(*image.size, opaque.tobytes())
    hashes.blur_hash(*image.size, image.tobytes())
    hashes.perceptual_hash(_SIDE, image.convert("L").tobytes())
