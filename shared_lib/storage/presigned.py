"""Presigned URLs: whoever holds one may put one object into the inbox, for a while, and nothing else."""

from typing import Any
from uuid import UUID

from shared_lib.domain.uploads import UploadTerms
from shared_lib.storage.buckets import Store, translating


class UploadUrls:
    def __init__(self, store: Store, bucket: str) -> None:
        self._store = store
        self._bucket = bucket

    def sign(self, uuid: UUID, seconds: int, terms: UploadTerms | None = None) -> str:
        """
        A URL that takes a PUT for that many seconds: a plain one, with any Content-Type, or just what the terms say.

        What the terms leave open is not signed, so the store takes any size or type there.
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
