"""Renditions look like their golden images: see tests/golden/README.md."""

from pathlib import Path

import pytest
from pipeline.golden import assert_looks_like_golden
from pipeline.pictures import FORMATS, PHOTOGRAPHS, decode, encode, photograph

from shared_lib.pipeline.recipe import THUMBNAIL
from shared_lib.pipeline.sandbox.pool import Sandbox


@pytest.mark.parametrize("file", PHOTOGRAPHS, ids=lambda file: file.stem)
def test_thumbnails_of_photographs_look_like_their_golden_images(sandbox: Sandbox, file: Path) -> None:
    (thumbnail,) = sandbox.render(file.read_bytes(), [THUMBNAIL]).renditions

    assert_looks_like_golden(decode(thumbnail.data), f"thumbnail-{file.stem}")


@pytest.mark.parametrize("name", FORMATS)
def test_thumbnails_from_every_format_look_like_their_golden_images(sandbox: Sandbox, name: str) -> None:
    (thumbnail,) = sandbox.render(encode(photograph(400), name), [THUMBNAIL]).renditions

    assert_looks_like_golden(decode(thumbnail.data), f"thumbnail-from-{name}")
