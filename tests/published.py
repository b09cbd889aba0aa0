"""Images as the functions that deliver know them, and what these say of a rendition."""

import io
from uuid import uuid4

import requests
from PIL import Image

from shared_lib.delivery.engine import Found, Made
from shared_lib.pipeline.formats import Format
from shared_lib.repositories.deliveries import PublishedImage
from shared_lib.runtime import Runtime


def make_published(form: Format) -> PublishedImage:
    return PublishedImage(
        uuid=uuid4(),
        tenant="default",
        filename="cat",
        sha256="0" * 64,
        original_key="originals/0",
        form=form,
        size_bytes=1,
        width=200,
        height=100,
        collection_id=None,
        links_since=None,
    )


def open_image(response: requests.Response) -> Image.Image:
    assert response.status_code == 200, (response.headers, response.text)
    return Image.open(io.BytesIO(response.content))


def is_made(response: requests.Response) -> bool:
    """Return whether this request had the rendition made, and it was neither stored nor sent from memory."""
    return response.headers["Cache-Status"] == "image-processing; fwd=miss; stored"


def make_and_store(rt: Runtime, found: Found) -> Made:
    """Have it made, and wait until it is stored, which an answer does not wait for."""
    made = rt.delivery.engine.make(found)
    if made.storing:
        made.storing.result(30)
    return made
