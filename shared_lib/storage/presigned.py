"""Presigned URLs, each of which allows one PUT into the inbox for a limited time, and nothing else."""

from shared_lib.domain.uploads import UploadTerms
from shared_lib.storage.store import Store


class UploadUrls:
    def __init__(self, store: Store, bucket: str) -> None:
        self._store = store
        self._bucket = bucket

    def sign(self, key: str, seconds: int, terms: UploadTerms) -> str:
        """Return a URL that takes a PUT for that many seconds, of the file that `terms` announce.

        What is None in them is not signed, so the store takes any size or type there.
        """
        headers = terms.headers
        if terms.size_bytes:
            headers["Content-Length"] = f"{terms.size_bytes}"
        return self._store.sign_put(self._bucket, key, seconds, headers)
