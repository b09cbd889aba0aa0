"""The bill of materials names every package of an image, and the decoders inside its wheels."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from packaging.utils import canonicalize_name
from service import ROOT

from infra.sbom import LOCKED, check_bill, compose_bill


@pytest.fixture(scope="module")
def bill() -> dict[str, Any]:
    return compose_bill()


def walk(components: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for each in components:
        yield each
        yield from walk(each.get("components", []))


def test_it_has_every_locked_package_and_nothing_else(bill: dict[str, Any]) -> None:
    text = "".join((ROOT / file).read_text() for file in LOCKED)
    locked = dict(re.findall(r"^([a-z0-9-]+)==([^ ;\\]+)", text, re.MULTILINE))

    listed = {canonicalize_name(each["name"]): each["version"] for each in bill["components"]}

    assert listed.items() <= locked.items()
    assert locked.keys() - listed.keys() <= {"setuptools"}  # a virtual environment may have its own


def test_it_names_the_decoders_inside_wheels_with_their_versions(bill: dict[str, Any]) -> None:
    named = {each["name"] for each in walk(bill["components"])}
    versions = {each["name"]: each["version"] for each in walk(bill["components"]) if "version" in each}

    decoders = ("libvips", "libheif", "libde265", "libavif", "dav1d", "libwebp", "libtiff", "OpenJPEG", "libaom")
    others = ("mozjpeg", "libpng", "libjpeg / libjpeg-turbo", "jpegxl-src", "png", "openssl")
    for name in (*decoders, *others):
        assert re.match(r"\d+\.\d+", versions[name]), name
    assert {"librsvg", "pango", "cairo", "lcms2", "libexif"} <= named  # of these libvips does not tell them


def test_it_follows_the_schema_and_names_nothing_twice(bill: dict[str, Any]) -> None:
    references = [each["bom-ref"] for each in walk(bill["components"])]
    assert len({*references}) == len(references)

    listed = [
        {name: value for name, value in each.items() if name != "externalReferences"} for each in bill["components"]
    ]
    check_bill({name: value for name, value in bill.items() if name != "metadata"} | {"components": listed})
    with pytest.raises(ValueError, match="bomFormat"):
        check_bill({"specVersion": bill["specVersion"]})
