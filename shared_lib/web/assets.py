"""Files that a function serves as they are, compressed for who accepts that."""

import gzip
import mimetypes
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from shared_lib.errors import NotFound
from shared_lib.web.responses import Content

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_ENDINGS = {"br": ".br", "gzip": ".gz"}
"""Content-Encoding → what the name of a compressed copy ends with."""


class Assets:
    """The files of folders, by name, except `hidden`. Of two with one name, the last folder's counts."""

    def __init__(self, folders: "Sequence[Traversable]", headers: Mapping[str, str], *, hidden: str = "") -> None:
        self._files = {each.name: each for folder in folders for each in folder.iterdir() if each.name != hidden}
        self._headers = headers
        self._read: dict[str, Content] = {}

    def find(self, name: str) -> Content:
        """Return a file with the compressed copies beside it, or else with one that is made now. Raises NotFound."""
        if name not in self._files or name.endswith((*_ENDINGS.values(),)):
            raise NotFound(f"There is no file {name} here", code="no_such_path")
        if name not in self._read:
            data = self._files[name].read_bytes()
            copies = {each: self._files.get(name + ending) for each, ending in _ENDINGS.items()}
            encodings = {each: copy.read_bytes() for each, copy in copies.items() if copy}
            media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
            self._read[name] = Content(data, media_type, self._headers, encodings=encodings or compress(data))
        return self._read[name]


def compress(data: bytes) -> dict[str, bytes]:
    """Return the encodings of a content that many callers will request."""
    return {"gzip": gzip.compress(data, mtime=0)}
