"""Write a bill of materials: each Python package of a container image, and the libraries inside its wheel.

`make sbom` writes it to build/sbom.cdx.json, in CycloneDX's JSON, of what is installed in .venv. cyclonedx-py lists the
packages. Decoders of untrusted bytes are inside wheels, where it does not look: those come from the wheels' own bills
(PEP 770), from the names of their shared libraries, and from the texts in libvips, which is linked with all that it
needs.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from packaging.utils import canonicalize_name

from infra.functions import ROOT
from shared_lib.pipeline.libraries import read_avif_versions, read_heif_versions

BILL = ROOT / "build" / "sbom.cdx.json"
LOCKED = ("requirements.txt", "requirements-codecs.txt")

# Its number is that of the interface, and not the library's version.
_LIBRARY = re.compile(r"(?P<name>lib[\w+]+?)(-[0-9a-f]{8})?\.so\.[\d.]+")
# A text that each library leaves in libvips. Without a group, it does not tell its version.
_IN_LIBVIPS = {
    "cairo": rb"cairo_surface",
    "cgif": rb"VipsForeignSaveCgif",
    "fontconfig": rb"Fontconfig error",
    "freetype": rb"FREETYPE_PROPERTIES",
    "glib": rb"GLib-GIO",
    "harfbuzz": rb"HB_SHAPER_LIST",
    "lcms2": rb"lcms",
    "libaom": rb"AOMedia Project AV1 Decoder v([\d.]+)",
    "libarchive": rb"libarchive (\d[\d.]+)",
    "libexif": rb"libexif",
    "libheif": rb"libheif",
    "libimagequant": rb"imagequant",
    "libpng": rb"\x00(1\.6\.\d+)\x00",
    "libtiff": rb"libtiff",
    "libultrahdr": rb"UltraHDR",
    "libwebp": rb"WebPEncode",
    "librsvg": rb"librsvg",
    "mozjpeg": rb"mozjpeg version ([\d.]+)",
    "pango": rb"pango-cairo",
    "zlib-ng": rb"zlib-ng",
}


class Library(NamedTuple):
    name: str
    version: str = ""
    url: str = ""
    """A package URL (purl), if its maker gave it one."""


def compose_bill() -> dict[str, Any]:
    command = [sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible", "--no-validate"]
    command += ["--pyproject", f"{ROOT / 'pyproject.toml'}", sys.executable]
    listed = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout  # noqa: S603
    bill: dict[str, Any] = json.loads(listed)
    wanted = set(re.findall(r"^([a-z0-9-]+)==", "".join((ROOT / file).read_text() for file in LOCKED), re.MULTILINE))
    bill["components"] = [each for each in bill["components"] if canonicalize_name(each["name"]) in wanted]
    kept = {each["bom-ref"] for each in bill["components"]} | {bill["metadata"]["component"]["bom-ref"]}
    bill["dependencies"] = [
        each | {"dependsOn": [ref for ref in each.get("dependsOn", ()) if ref in kept]}
        for each in bill["dependencies"]
        if each["ref"] in kept
    ]
    for component in bill["components"]:
        if inside := sorted({*_list_inside(component["name"])}):
            component["components"] = [_describe(component["bom-ref"], each) for each in inside]
    return bill


def _describe(package: str, library: Library) -> dict[str, str]:
    described = {"type": "library", "name": library.name, "bom-ref": f"{package}#{library.name}@{library.version}"}
    given = {"version": library.version, "purl": library.url}
    return described | {name: text for name, text in given.items() if text}


def _list_inside(package: str) -> Iterator[Library]:
    """List the libraries inside an installed wheel. One may be there twice, under two names."""
    distribution = metadata.distribution(package)
    paths = [Path(str(distribution.locate_file(file))) for file in distribution.files or ()]
    known = [*_read_bills(package, paths), *_ask(package)]
    yield from known
    for path in paths:
        match = _LIBRARY.fullmatch(path.name)
        if match and match["name"] == "libvips":
            yield Library("libvips", distribution.version)
            yield from _search(path.read_bytes())
        elif match and match["name"] not in {each.name for each in known}:
            yield Library(match["name"])


def _read_bills(package: str, paths: list[Path]) -> Iterator[Library]:
    for path in paths:
        if path.parent.name == "sboms":
            for each in json.loads(path.read_text()).get("components", ()):
                if not each["name"].lower().startswith((package.lower(), "pil._")):  # its own parts
                    yield Library(each["name"], each.get("version", ""), each.get("purl", ""))


def _ask(package: str) -> Iterator[Library]:
    """List what a package tells about the codecs in it."""
    read = {"pillow": read_avif_versions, "pillow-heif": read_heif_versions}.get(canonicalize_name(package), dict)
    for name, version in read().items():
        yield Library(name, version)


def _search(libvips: bytes) -> Iterator[Library]:
    for name, text in _IN_LIBVIPS.items():
        if match := re.search(text, libvips):
            yield Library(name, match[1].decode() if match.groups() else "")


def check_bill(bill: dict[str, Any]) -> None:
    """Raise ValueError if the bill does not follow CycloneDX's schema. Each URL in it takes 0.1 s."""
    from cyclonedx.schema import SchemaVersion  # noqa: PLC0415  only tests and `make sbom` have it installed
    from cyclonedx.validation.json import JsonStrictValidator  # noqa: PLC0415  (same)

    version = SchemaVersion.from_version(bill["specVersion"])
    if fault := JsonStrictValidator(version).validate_str(json.dumps(bill)):
        raise ValueError(f"{fault}")


if __name__ == "__main__":
    composed = compose_bill()
    check_bill(composed)
    BILL.parent.mkdir(exist_ok=True)
    BILL.write_text(json.dumps(composed, indent=1) + "\n")
    print(BILL.relative_to(ROOT))  # noqa: T201  a command's output
