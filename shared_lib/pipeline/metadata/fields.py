"""The fields that libvips keeps beside an image's pixels. Some of their names come from the file.

A PNG's keywords are Latin-1 (PNG specification, 11.3.3), and a hostile file's can be any bytes. pyvips decodes every
name as UTF-8, and raises unexpected errors, so we list them through libvips itself.
"""

import pyvips
from pyvips import ffi, glib_lib, vips_lib


def list_fields(image: pyvips.Image) -> list[bytes]:
    names: list[bytes] = []
    array = vips_lib.vips_image_get_fields(image.pointer)
    while array[len(names)] != ffi.NULL:
        names.append(ffi.string(array[len(names)]))
        glib_lib.g_free(array[len(names) - 1])
    glib_lib.g_free(array)
    return names


def measure_field(image: pyvips.Image, name: bytes) -> int:
    """Return a field's length: characters of text, bytes of anything else."""
    value = pyvips.GValue()
    if vips_lib.vips_image_get(image.pointer, name, value.pointer):
        raise pyvips.Error("a listed field is gone")
    return len(value.get())
