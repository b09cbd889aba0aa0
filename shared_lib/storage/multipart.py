"""Multipart uploads into the inbox: begun, completed and aborted by the service, their parts put by clients."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_plus
from xml.sax.saxutils import escape

from shared_lib.domain.multipart import MAX_PARTS, MultipartUpload, Part, StoredUpload
from shared_lib.errors import RequestRejected
from shared_lib.storage.answers import is_truncated, parse, read_text, reading
from shared_lib.storage.buckets import encode_query
from shared_lib.storage.store import Missing, Store, StoreError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_PAGE = 1000  # uploads; the most that S3 lists at once
_CHANGED = ("InvalidPart", "InvalidPartOrder", "EntityTooSmall")
"""Codes of a completion that names parts which the store does not have like that."""


class PartsChanged(Exception):
    """A part was uploaded again between the listing and the completion."""


class MultipartStore:
    def __init__(self, store: Store, bucket: str) -> None:
        self._store = store
        self.bucket = bucket

    def begin(self, key: str) -> str:
        """Return the ID of a new upload."""
        answer = self._store.send("POST", self.bucket, key, query="uploads=").data
        with reading():
            return read_text(parse(answer, "InitiateMultipartUploadResult"), "UploadId")

    def sign(self, upload: MultipartUpload, number: int, seconds: int) -> str:
        """Return a URL that takes a PUT of that part, with exactly its size, for that many seconds."""
        query = f"partNumber={number}&uploadId={quote(upload.upload_id, safe='')}"
        headers = {"Content-Length": f"{upload.size_of(number)}"}
        return self._store.sign_put(self.bucket, upload.key, seconds, headers, query=query)

    def list_parts(self, upload: MultipartUpload) -> list[Part] | None:
        """Return the parts in the store, or None if it has no such upload: it is complete, aborted or expired."""
        found: list[Part] = []
        query = {"uploadId": upload.upload_id, "max-parts": f"{MAX_PARTS}"}
        while True:
            try:
                answer = self._store.send("GET", self.bucket, upload.key, query=encode_query(query)).data
            except Missing:
                return None
            page = parse(answer, "ListPartsResult")
            with reading():
                found += [_read_part(each) for each in page.iterfind("{*}Part")]
                if not is_truncated(page):
                    return found
                query["part-number-marker"] = read_text(page, "NextPartNumberMarker")

    def complete(self, upload: MultipartUpload, parts: Sequence[Part]) -> bool:
        """Make the object of these parts. Return False if the store has no such upload.

        Raises PartsChanged if it has other parts by now.
        """
        listed = "".join(
            f"<Part><PartNumber>{each.number}</PartNumber><ETag>{escape(each.etag)}</ETag></Part>" for each in parts
        )
        body = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
        query = encode_query({"uploadId": upload.upload_id})
        try:
            answer = self._store.send("POST", self.bucket, upload.key, query=query, body=body).data
        except Missing:
            return False
        except RequestRejected as error:
            if isinstance(error.__cause__, StoreError) and error.__cause__.code in _CHANGED:
                raise PartsChanged from error
            raise
        parse(answer, "CompleteMultipartUploadResult")
        return True

    def abort(self, key: str, upload_id: str) -> None:
        """Delete an upload's parts. An upload that is complete or gone is no error."""
        try:
            self._store.send("DELETE", self.bucket, key, query=encode_query({"uploadId": upload_id}))
        except Missing:
            return

    def list(self, after: str = "") -> Iterator[StoredUpload]:
        """Yield the uploads whose keys come after `after`, in the order of their keys."""
        query = {"encoding-type": "url", "key-marker": after, "max-uploads": f"{_PAGE}"}
        while True:
            answer = self._store.send("GET", self.bucket, query=f"uploads=&{encode_query(query)}").data
            page = parse(answer, "ListMultipartUploadsResult")
            with reading():
                found = [_read_upload(each) for each in page.iterfind("{*}Upload")]
            yield from found
            if not is_truncated(page):
                return
            with reading():
                query["key-marker"] = unquote_plus(read_text(page, "NextKeyMarker"))
                query["upload-id-marker"] = read_text(page, "NextUploadIdMarker")


def _read_part(entry: "Element") -> Part:
    modified = datetime.fromisoformat(read_text(entry, "LastModified"))
    return Part(int(read_text(entry, "PartNumber")), int(read_text(entry, "Size")), read_text(entry, "ETag"), modified)


def _read_upload(entry: "Element") -> StoredUpload:
    begun = datetime.fromisoformat(read_text(entry, "Initiated"))
    return StoredUpload(unquote_plus(read_text(entry, "Key")), read_text(entry, "UploadId"), begun)
