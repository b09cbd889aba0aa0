"""The service tells which versions of itself and of its codecs run."""

import os
import platform as interpreter
import re
from collections.abc import Callable
from importlib import metadata

from flask.testing import FlaskClient


def test_the_version_names_the_service_and_each_native_codec(load: Callable[[str], FlaskClient]) -> None:
    os.environ.pop("BUILD_COMMIT", None)
    found = load("get_version").get("/version").get_json()

    assert found["version"] == metadata.version("image-processing")
    assert found["python"] == interpreter.python_version()
    assert found["commit"] is None
    assert found["libraries"]["libvips"] == metadata.version("pyvips-binary")
    assert found["libraries"]["Pillow"] == metadata.version("pillow")
    for name in ("libheif", "libde265", "libjpeg-turbo", "libwebp", "libavif", "dav1d", "libtiff", "resvg"):
        assert re.match(r"\d+\.\d+", found["libraries"][name]), name


def test_an_image_knows_the_commit_that_it_was_built_from(load: Callable[[str], FlaskClient]) -> None:
    os.environ["BUILD_COMMIT"] = "0123abc"

    assert load("get_version").get("/version").get_json()["commit"] == "0123abc"
