"""An upload in parts that is completed and aborted at once is one or the other, as both answers say."""

from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

import pytest
import requests
from service import make_photo

from shared_lib.domain.images import ImageNotFound, ImageStatus
from shared_lib.domain.multipart import MultipartUpload
from shared_lib.repositories.multipart import MultipartUploads
from shared_lib.runtime import Runtime
from shared_lib.services.multipart import MultipartIngestion, UploadComplete


class OvertakenUploads(MultipartUploads):
    """Another request changes an upload after it was found."""

    def __init__(self, rt: Runtime, change: Callable[[UUID], object]) -> None:
        super().__init__(rt.database, rt.settings.quotas)
        self._change = change

    def find(self, uuid: UUID) -> MultipartUpload | ImageStatus:
        found = super().find(uuid)
        self._change(uuid)
        return found


def overtake(rt: Runtime, change: Callable[[UUID], object]) -> MultipartIngestion:
    return replace(rt.multipart_ingestion, uploads=OvertakenUploads(rt, change))


@pytest.fixture
def uuid(rt: Runtime) -> UUID:
    """Upload a file whose parts are all in the store."""
    photo = make_photo()
    upload = rt.multipart_ingestion.begin(len(photo), None, "jpg", None)
    _, [url] = rt.multipart_ingestion.sign(upload.uuid, [1])
    assert requests.put(url, photo, timeout=30).status_code == 200
    return upload.uuid


def test_an_upload_that_was_completed_meanwhile_is_not_aborted(rt: Runtime, uuid: UUID) -> None:
    with pytest.raises(UploadComplete):
        overtake(rt, rt.multipart_ingestion.complete).abort(uuid)

    assert rt.multipart_uploads.find(uuid) is ImageStatus.PENDING
    assert rt.inbox.head(f"{uuid}")
    rt.images.delete(uuid)


def test_an_upload_that_was_aborted_meanwhile_is_not_said_to_be_complete(rt: Runtime, uuid: UUID) -> None:
    with pytest.raises(ImageNotFound):
        overtake(rt, rt.images.delete).complete(uuid)
