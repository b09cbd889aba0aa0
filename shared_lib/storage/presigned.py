"""Presigned URLs, each of which allows one PUT into the inbox for a limited time, and nothing else."""

from typing import Any
from uuid import UUID

from shared_lib.domain.uploads import UploadTerms
from shared_lib.storage.store import Store, translating


class UploadUrls:
    def __init__(self, store: Store, bucket: str) -> None:
        self._store = store
        self._bucket = bucket

    def sign(self, uuid: UUID, seconds: int, terms: UploadTerms | None = None) -> str:
        """
        Return a URL that takes a PUT for that many seconds: of any file, or only of the one that `terms` announce.

        Terms that are None are not signed, so the store takes any size or type there.
        """
        signed: dict[str, Any] = {"Bucket": self._bucket, "Key": f"{uuid}"}
        if terms and terms.size_bytes:
            signed["ContentLength"] = terms.size_bytes
        if terms and terms.content_type:
            signed["ContentType"] = terms.content_type
        if terms and terms.checksum:
            signed["ChecksumSHA256"] = terms.checksum
        with translating():
            return self._store.public_signer.generate_presigned_url("put_object", Params=signed, ExpiresIn=seconds)
