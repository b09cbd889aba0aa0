"""An image as the functions that deliver know it, for tests without a database."""

from uuid import uuid4

from shared_lib.pipeline.formats import Format
from shared_lib.repositories.deliveries import PublishedImage


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
    )
