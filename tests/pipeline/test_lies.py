"""A worker that a hostile image has taken over may lie: nothing follows but that its image fails."""

import pytest
from pipeline.pictures import sample

from shared_lib.errors import Rejected, WorkerCrashed
from shared_lib.limits import Limits
from shared_lib.pipeline.recipe import THUMBNAIL, Recipe
from shared_lib.pipeline.recipe_schema import read_recipe
from shared_lib.pipeline.rendition import Rendered
from shared_lib.pipeline.sandbox.pool import Sandbox

# It carries out its job, and then changes its reply and the renditions.
LIAR = """
from dataclasses import replace
from shared_lib.errors import FailureCode
from shared_lib.pipeline.sandbox import ipc
from shared_lib.pipeline.sandbox import worker
from shared_lib.pipeline.sandbox import zygote
from shared_lib.pipeline.formats import Format
from shared_lib.pipeline.metadata.model import Location

def lie(job, body, limits):
    it, made = worker.render_job(job, body, limits)
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
    "a rendition is one byte shorter": "it = replace(it, renditions=(replace(first, size=first.size - 1),))",
    "a rendition has too many pixels": "it = replace(it, renditions=(replace(first, width=8192, height=8192),))",
    "a rendition is wider than any may be": "it = replace(it, renditions=(replace(first, width=9000),))",
    "there is one more rendition": "it = replace(it, renditions=(first, first)); made = made * 2",
    "there is none": "it = replace(it, renditions=()); made = []",
    "more was made than may be": "made = [bytes(limits.max_output_bytes + 1)]",
    "the image has a location": "where = Location(latitude=1, longitude=2); "
    "it = replace(it, metadata=replace(it.metadata, location=where))",
    "the image has no metadata": "it = replace(it, metadata=None)",
    "a sentence is a page": "it = ipc.ImageError(code=FailureCode.CORRUPT_IMAGE, public='x' * 301)",
    "a sentence clears the screen": "it = ipc.ImageError(code=FailureCode.CORRUPT_IMAGE, public=chr(27) + '[2J')",
    "a trace is endless": "it = ipc.JobError(trace=('x',) * 1000)",
}


def render_by_liar(lie: str, recipe: Recipe) -> Rendered:
    sandbox = Sandbox(Limits(), workers=1, program=("-c", LIAR.format(lie=lie)))
    try:
        return sandbox.render(sample("jpeg"), [recipe], with_metadata=True)
    finally:
        sandbox.close()


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_worker_cannot_claim_that(lie: str) -> None:
    with pytest.raises(WorkerCrashed):
        render_by_liar(lie, THUMBNAIL)


def test_a_worker_cannot_claim_that_a_format_is_the_requested_one() -> None:
    with pytest.raises(WorkerCrashed):
        render_by_liar("it = replace(it, renditions=(replace(first, format=Format.JPEG),))", WEBP)


def test_a_worker_that_tells_the_truth_is_trusted() -> None:
    assert render_by_liar("pass", WEBP).get("web").content_type == "image/webp"
    with pytest.raises(Rejected, match="any sentence"):
        render_by_liar("it = ipc.ImageError(code=FailureCode.CORRUPT_IMAGE, public='any sentence'); made = []", WEBP)
