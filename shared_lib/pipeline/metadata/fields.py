"""The fields that libvips keeps beside an image's pixels, under names some of which the file has chosen.

A PNG's keywords are Latin-1 (PNG specification, 11.3.3), and hostile ones anything; pyvips takes every name for UTF-8,
and raises what nobody expects.
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
    """Characters of a field that holds text, bytes of any other."""
    value = pyvips.GValue()
    if vips_lib.vips_image_get(image.pointer, name, value.pointer):
        raise pyvips.Error("a field that was listed is gone")
    return len(value.get())
