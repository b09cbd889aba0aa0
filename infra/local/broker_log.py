"""Repair the log of an embedded Tansu after a loss of data below it.

Tansu keeps everything as objects: what it knows of topics, of each partition's end, and of groups, and each batch of
events. A power loss may take the end of the store's volume, in which the newest of them are. The store then knows
their names and answers 500 for their content, for ever, and Tansu serves no group or topic that needs them.

A topic that no event source reads has nobody who notices, so each start looks at what was written last.

What cannot be read is deleted. A partition that has lost its end or a batch begins anew, and so do the groups in it.
No image is lost with an event: reconciliation requests it again.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from infra.local import terminal
from infra.local.disk_full import connect
from shared_lib.errors import Misconfigured, RequestRejected, Unavailable
from shared_lib.storage.buckets import Bucket
from shared_lib.storage.store import Missing, StoreError

BUCKET = "kafka-log"
TIMEOUT_SECONDS = 30.0  # the store itself tries for ten seconds to read what is gone
READERS = 16
RECENT = timedelta(minutes=10)  # Linux writes to the disk what is 30 s old (vm.dirty_expire_centisecs)
CHECK = "check"  # an object that is written and read
_PARTITION = re.compile(r"clusters/[^/]+/topics/([^/]+)/partitions/(\d+)/")
_OFFSET = re.compile(r"clusters/[^/]+/groups/.+/offsets/([^/]+)/partitions/(\d+)\.json")
_DESCRIPTION = re.compile(r"clusters/[^/]+/meta\.json")


class BrokerLog:
    def __init__(self, store: Mapping[str, str], region: str, find_fault: Callable[[], str | None]) -> None:
        """`store` has the S3 variables. `find_fault` asks those who read from the broker."""
        self._store = connect(store, region, TIMEOUT_SECONDS, tries=1)
        self._bucket = Bucket(self._store, BUCKET)
        self._find_fault = find_fault
        self._is_suspected = False

    def create(self) -> None:
        """Create its bucket, unless there is one."""
        try:
            self._store.send("HEAD", BUCKET)
        except Missing:
            self._store.send("PUT", BUCKET)

    def find_fault(self) -> str | None:
        fault = self._find_fault()
        self._is_suspected = fault is not None
        return fault

    def repair(self) -> None:
        """Delete what cannot be read. There may be many batches: old ones are only read if the broker did not work."""
        try:
            found = list(self._bucket.list())
            keys = [each.key for each in found]
            recent = max((each.modified for each in found), default=datetime.now(UTC)) - RECENT
            damaged = self._find_lost(
                each.key
                for each in found
                if self._is_suspected or each.modified >= recent or not each.key.endswith(".batch")
            )
            if damaged:  # perhaps the store has only just started, and is still loading its volumes
                terminal.print_line("Part of Kafka's log cannot be read. Looking again …")
                self._check_store()
                damaged = self._find_lost(damaged)
            if damaged:
                terminal.print_error(f"Kafka's log is damaged, as a power loss may leave it: {', '.join(damaged)}")
                self._bucket.delete(*find_dependents(keys, damaged))
        except Unavailable as error:
            terminal.print_error(f"Kafka's log could not be checked: {error}")
        self._is_suspected = False

    def _check_store(self) -> None:
        """Raise Unavailable unless the store keeps what is written."""
        self._bucket.put(CHECK, b".", "text/plain")
        self._bucket.read(CHECK)
        self._bucket.delete(CHECK)

    def _find_lost(self, keys: Iterable[str]) -> list[str]:
        keys = list(keys)
        with ThreadPoolExecutor(READERS) as pool:
            return [key for key, is_lost in zip(keys, pool.map(self._is_lost, keys), strict=True) if is_lost]

    def _is_lost(self, key: str) -> bool:
        """The store answers, but with an error of its own. While it does not answer at all, nothing is known."""
        try:
            self._bucket.read(key)
        except (Misconfigured, RequestRejected):
            return False
        except Unavailable as error:
            if isinstance(error.__cause__, StoreError) and error.__cause__.status == 500:
                return True
            raise
        return False


def find_dependents(keys: Iterable[str], damaged: Iterable[str]) -> list[str]:
    """Return the damaged objects, and those that mean nothing without them."""
    lost = set(damaged)
    if any(map(_DESCRIPTION.fullmatch, lost)):
        return list(keys)
    partitions = {found.groups() for key in lost if (found := _PARTITION.match(key))}
    return [key for key in keys if key in lost or _find_partition(key) in partitions]


def _find_partition(key: str) -> tuple[str | None, ...] | None:
    """Return topic and number of the partition that an object is part of, or a group's place in."""
    found = _PARTITION.match(key) or _OFFSET.fullmatch(key)
    return found.groups() if found else None
