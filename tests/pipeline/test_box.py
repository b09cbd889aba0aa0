"""The decoder box: what an image does, it does to a child."""

import pytest
import pyvips

from shared_lib.errors import FailureCode, Rejected
from shared_lib.pipeline import THUMBNAIL, DecoderBox


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_makes_a_thumbnail_in_the_format_of_the_source(box: DecoderBox, suffix: str) -> None:
    data = pyvips.Image.black(300, 200, bands=3).copy(interpretation="srgb").write_to_buffer(suffix)

    rendered = box.render(data, [THUMBNAIL])

    (rendition,) = rendered.renditions
    assert (rendered.width, rendered.height) == (300, 200)
    assert (rendition.name, rendition.width, rendition.height) == ("thumbnail", 100, 100)
    assert rendition.content_type == rendered.content_type


def test_refuses_an_empty_file(box: DecoderBox) -> None:
    with pytest.raises(Rejected) as refusal:
        box.render(b"", [THUMBNAIL])

    assert refusal.value.failure is FailureCode.EMPTY_FILE
