"""Upload an image, request a rendition, download it, and read lists: with the client of openapi-python-client.

Arguments: the service's URL, the image, the file to write, and an API key.
"""

import sys
import time
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from image_client import AuthenticatedClient
from image_client.api.collections import list_collections
from image_client.api.images import get_image, get_rendition, list_images, request_processing, upload_image
from image_client.models import (
    CollectionList,
    Image,
    ImageStatus,
    ListImagesInclude,
    Message,
    OutputOptions,
    OutputOptionsFormat,
    ProcessingRequest,
    Recipe,
    Resize,
    UploadForm,
    UploadResponse,
)
from image_client.types import File

Expected = TypeVar("Expected")


def expect(kind: type[Expected], parsed: object) -> Expected:
    """Return the parsed response, if it isn't an error."""
    if not isinstance(parsed, kind):
        raise TypeError(parsed)
    return parsed


def wait_for_renditions(client: AuthenticatedClient, uuid: UUID) -> Image:
    for _ in range(300):
        image = expect(Image, get_image.sync(uuid, client=client))
        if image.status is ImageStatus.FAILED:
            raise RuntimeError(image.error)
        if image.status is ImageStatus.SUCCEEDED and not image.pending_renditions:
            return image
        time.sleep(0.1)
    raise TimeoutError(f"{uuid} is still being processed")


def list_all_images(client: AuthenticatedClient) -> list[UUID]:
    """Follow the cursors of the list of images, which are in a header."""
    uuids: list[UUID] = []
    after: str | None = None
    while True:
        response = list_images.sync_detailed(
            client=client, limit=1, after=after, status="all", include=ListImagesInclude.NONE
        )
        assert isinstance(response.parsed, list), response
        uuids += [image.uuid for image in response.parsed]
        after = response.headers.get("X-Next-Cursor")
        if after is None:
            return uuids


def count_collections(client: AuthenticatedClient) -> tuple[int, int]:
    """Follow the cursors of the list of collections, which are in the body. Return their number and the total."""
    count = 0
    after: str | None = None
    while True:
        page = expect(CollectionList, list_collections.sync(client=client, limit=1, after=after))
        count += len(page.data)
        after = page.meta.pagination.next_cursor
        if after is None:
            return count, page.meta.pagination.total_items


def main(url: str, source: Path, target: Path, key: str) -> None:
    client = AuthenticatedClient(
        url, token=key, prefix="", auth_header_name="X-API-Key", raise_on_unexpected_status=True
    )
    with source.open("rb") as content:
        form = UploadForm(file=File(content, "cat.jpg", "image/jpeg"), description="A cat")
        uuid = expect(UploadResponse, upload_image.sync(client=client, body=form)).data.uuid
    hero = Recipe(
        name="hero", operations=[Resize(width=320)], output=OutputOptions(format_=OutputOptionsFormat.WEBP, quality=75)
    )
    expect(Message, request_processing.sync(client=client, body=ProcessingRequest(uuid, renditions=[hero])))
    image = wait_for_renditions(client, uuid)
    data = expect(File, get_rendition.sync(uuid, "hero", client=client)).payload.read()
    assert len(data) in [rendition.size_bytes for rendition in image.renditions or ()]
    target.write_bytes(data)
    assert list_all_images(client).count(uuid) == 1
    count, total = count_collections(client)
    assert count == total


main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
