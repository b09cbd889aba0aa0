"""The imaging libraries of this deployment, with their versions as they report them.

libvips' wheel holds further libraries, whose versions it does not tell: `make sbom` names them.
"""

import re
from importlib import import_module, metadata

from shared_lib.pipeline.formats import Format, has_codec
from shared_lib.pipeline.vips import pyvips

# Our names of what Pillow reports.
_IN_PILLOW = {
    "pil": "Pillow",
    "libjpeg_turbo": "libjpeg-turbo",
    "jpg_2000": "OpenJPEG",
    "libtiff": "libtiff",
    "webp": "libwebp",
    "avif": "libavif",
    "littlecms2": "Little CMS",
    "freetype2": "FreeType",
    "zlib": "zlib",
}


def read_versions() -> dict[str, str]:
    """Return the version of each library. It loads all of them, which takes a tenth of a second."""
    found = {"libvips": ".".join(str(pyvips.version(part)) for part in range(3))}
    features = import_module("PIL.features")
    found |= {name: features.version(feature) or "" for feature, name in _IN_PILLOW.items()}
    found |= read_avif_versions()
    found |= {"resvg": import_module("resvg_py").__resvg_version__}
    if has_codec(Format.HEIC):
        found |= read_heif_versions()
    if has_codec(Format.JXL):
        found |= {"pillow-jxl-plugin": metadata.version("pillow-jxl-plugin")}
    return {name: version for name, version in found.items() if version}


def read_avif_versions() -> dict[str, str]:
    """Return what libavif in Pillow decodes and encodes with: `dav1d [dec]:1.5.3-0-gb546257, aom [enc]:3.14.1`."""
    return dict(re.findall(r"(?:^|, )(\w+) \[\w+\]:v?([\d.]+)", import_module("PIL._avif").codec_versions()))


def read_heif_versions() -> dict[str, str]:
    """Return the versions of libheif and what it decodes and encodes with: `libde265 HEVC decoder, version 1.1.3`."""
    info = import_module("pillow_heif").libheif_info()
    found = {
        name: re.search(r"(?<!\d)\d+\.[\d.]+", text) for name, text in (info["decoders"] | info["encoders"]).items()
    }
    return {"libheif": info["libheif"]} | {name: match[0] for name, match in found.items() if match}
