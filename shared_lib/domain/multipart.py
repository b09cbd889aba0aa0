"""Large files in parts, as S3's multipart uploads have them: sizes and numbers. No I/O."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from shared_lib.domain.uploads import read_upload_key

MIB = 1024 * 1024
USUAL_PART = 8 * MIB
"""Bytes. S3 takes no part of less than 5 MiB, except for the last one."""
MAX_PARTS = 1000
"""So many are listed by one request. S3 allows ten times as many."""


def choose_part_size(size: int) -> int:
    """Return the bytes of each part but the last."""
    smallest = -(-size // MAX_PARTS)
    return max(USUAL_PART, -(-smallest // MIB) * MIB)


@dataclass(frozen=True, slots=True)
class Part:
    """A part that the store has."""

    number: int
    """From 1 on."""
    size: int
    """bytes"""
    etag: str
    modified: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class MultipartUpload:
    """An image's upload in parts, from when it is announced until it is complete."""

    uuid: UUID
    key: str
    """In the inbox."""
    upload_id: str
    """The store's."""
    size: int
    """bytes of the whole file"""
    part_size: int
    """bytes of each part but the last"""
    expires_at: datetime

    @property
    def part_count(self) -> int:
        return -(-self.size // self.part_size)

    @property
    def most(self) -> int:
        """Bytes that its parts may take in the store. Some stores keep a part that is sent again beside the first."""
        return 2 * self.size + self.part_size

    @property
    def numbers(self) -> range:
        return range(1, self.part_count + 1)

    def size_of(self, number: int) -> int:
        """Return the bytes of the part with that number."""
        return min(self.part_size, self.size - (number - 1) * self.part_size)

    def choose(self, stored: Iterable[Part]) -> list[Part]:
        """Return the parts that have their size, in order.

        SeaweedFS lists a part as often as it was uploaded, with times in whole seconds. The last one counts. If others
        with other bytes are as young, nobody knows which one was the last, and the part counts as missing.
        """
        uploads: defaultdict[int, list[Part]] = defaultdict(list)
        for each in stored:
            if each.number in self.numbers and each.size == self.size_of(each.number):
                uploads[each.number].append(each)
        chosen: list[Part] = []
        for _, same in sorted(uploads.items()):
            last = max(each.modified for each in same)
            youngest = {each.etag: each for each in same if each.modified == last}
            if len(youngest) == 1:
                chosen += youngest.values()
        return chosen

    def find_missing(self, chosen: Sequence[Part]) -> list[int]:
        """Return the numbers of the parts that are still to be uploaded."""
        return sorted(set(self.numbers) - {each.number for each in chosen})


@dataclass(frozen=True, slots=True)
class StoredUpload:
    """A multipart upload that the store keeps parts of."""

    key: str
    upload_id: str
    begun_at: datetime

    @property
    def named_image(self) -> UUID | None:
        return read_upload_key(self.key)
