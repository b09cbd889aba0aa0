"""A decoder that was taken over may claim what it likes: nothing comes of it but that its image was not decoded."""

import pytest
from pipeline.pictures import sample

from shared_lib.errors import Rejected
from shared_lib.limits import Limits
from shared_lib.pipeline.recipe import THUMBNAIL, Recipe
from shared_lib.pipeline.recipe_schema import read_recipe
from shared_lib.pipeline.rendition import Rendered
from shared_lib.pipeline.sandbox.pool import DecoderBox, DecoderCrashed

# It decodes what it is told to, and then changes its reply and the bytes that it made.
LIAR = """
from dataclasses import replace
from shared_lib.errors import FailureCode
from shared_lib.pipeline.sandbox import ipc as wire
from shared_lib.pipeline.sandbox import worker as child
from shared_lib.pipeline.sandbox import zygote
from shared_lib.pipeline.formats import Format
from shared_lib.pipeline.metadata.model import Location

def lie(task, body, limits):
    it, made = child.decode(task, body, limits)
    first = it.renditions[0]
    {lie}
    return it, made

zygote.main(lie)
"""
WEBP = read_recipe({"name": "web", "output": {"format": "webp"}})
LIES = {
    "the original is another format": "it = replace(it, format=Format.PNG)",
    "the original is a drawing": "it = replace(it, format=Format.SVG)",
    "the original is endless": "it = replace(it, width=10**9)",
    "a rendition is a drawing": "it = replace(it, renditions=(replace(first, format=Format.SVG),))",
    "a rendition is another format": "it = replace(it, renditions=(replace(first, format=Format.PNG),))",
    "a page is a rendition": "made = [b'<svg/>'.ljust(first.size)]",
    "another image is a rendition": "made = [b'GIF89a'.ljust(first.size)]",
    "a rendition is as long as it says": "it = replace(it, renditions=(replace(first, size=first.size - 1),))",
    "a rendition has too many pixels": "it = replace(it, renditions=(replace(first, width=8192, height=8192),))",
    "a rendition is wider than any may be": "it = replace(it, renditions=(replace(first, width=9000),))",
    "there is one more rendition": "it = replace(it, renditions=(first, first)); made = made * 2",
    "there is none": "it = replace(it, renditions=()); made = []",
    "more was made than may be": "made = [bytes(limits.max_output_bytes + 1)]",
    "it knows a place": "where = Location(latitude=1, longitude=2); "
    "it = replace(it, knowledge=replace(it.knowledge, location=where))",
    "there is nothing to know": "it = replace(it, knowledge=None)",
    "a sentence is a page": "it = wire.Refusal(code=FailureCode.CORRUPT_IMAGE, public='x' * 301)",
    "a sentence clears the screen": "it = wire.Refusal(code=FailureCode.CORRUPT_IMAGE, public=chr(27) + '[2J')",
    "a trace is endless": "it = wire.Failure(trace=('x',) * 1000)",
}


def ask_liar(lie: str, recipe: Recipe) -> Rendered:
    box = DecoderBox(Limits(), children=1, program=("-c", LIAR.format(lie=lie)))
    try:
        return box.render(sample("jpeg"), [recipe], learn=True)
    finally:
        box.close()


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_decoder_is_not_believed_that(lie: str) -> None:
    with pytest.raises(DecoderCrashed):
        ask_liar(lie, THUMBNAIL)


def test_a_decoder_is_not_believed_that_a_format_is_the_one_asked_for() -> None:
    with pytest.raises(DecoderCrashed):
        ask_liar("it = replace(it, renditions=(replace(first, format=Format.JPEG),))", WEBP)


def test_a_decoder_that_tells_the_truth_is_believed() -> None:
    assert ask_liar("pass", WEBP).get("web").content_type == "image/webp"
    with pytest.raises(Rejected, match="whatever it says"):
        ask_liar("it = wire.Refusal(code=FailureCode.CORRUPT_IMAGE, public='whatever it says'); made = []", WEBP)
