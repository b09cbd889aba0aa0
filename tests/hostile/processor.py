"""Upload thousands of files to the whole service. Collect the verdicts, and observe the service.

It is observed from outside, as by its operator: its processes, their memory, and its health.
"""

import statistics
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import psutil
import requests
from hostile.verdicts import ACCEPTED, Verdicts
from service import Platform, open_session, start_platform, wait_for

_CLIENTS = 4
_AHEAD = 300  # files that wait for the processor, at most
_PATIENCE = 600  # s, for the last of them: some take the full 30 s of an image
_EVERY = 2  # s, between checks
_GROWTH = 1.1  # of memory, from the first period to the last
_WARM = 2_000  # images, until each module has been used and each buffer has grown


class Memory(NamedTuple):
    """Resident memory, bytes, when so many images had ended."""

    ended: int
    processor: int
    workers: int


@dataclass
class Watch:
    """Observations of a running service."""

    platform: Platform
    health: Counter[int] = field(default_factory=Counter)
    memory: list[Memory] = field(default_factory=list)
    servers: list[set[psutil.Process]] = field(default_factory=list)
    """The processes that serve functions, at each check. Workers may die; these may not."""

    def look(self) -> None:
        self.health[requests.get(f"{self.platform.url}/api/health", timeout=30).status_code] += 1
        servers, processor, workers = set(), 0, 0
        for process in psutil.Process(self.platform.process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if "shared_lib.pipeline.sandbox.zygote" in process.cmdline():
                    workers += process.memory_info().rss
                elif "infra.local.consumers" in process.cmdline():
                    servers.add(process)
                    processor += process.memory_info().rss
        self.servers.append(servers)
        self.memory.append(Memory(self.count_ended(), processor, workers))

    def count_ended(self) -> int:
        path = "/api/v1/images?status=succeeded,failed&limit=1&include=none"
        response = requests.get(self.platform.url + path, timeout=30)
        return int(response.headers["X-Total-Count"])

    def await_ended(self, count: int) -> None:
        wait_for(self.count_ended, lambda ended: ended >= count, _PATIENCE)

    def list_problems(self) -> list[str]:
        """Return what is wrong."""
        problems = []
        if self.health.keys() != {200}:
            problems.append(f"health checks returned {dict(self.health)}")
        if any(servers != self.servers[0] for servers in self.servers):
            problems.append("a process that serves a function died, or another was started")
        for part in ("processor", "workers"):
            sizes = self.summarize_memory(part)
            if sizes[-1] > sizes[0] * _GROWTH:
                problems.append(f"the memory of the {part} grew")
        return problems

    def summarize_memory(self, part: str) -> list[float]:
        """Return medians of four equal periods after warming up, MiB."""
        sizes = [getattr(memory, part) / (1 << 20) for memory in self.memory if memory.ended >= _WARM]
        quarter = max(1, len(sizes) // 4)
        return [statistics.median(sizes[at : at + quarter]) for at in range(0, 4 * quarter, quarter) if sizes[at:]]


@contextmanager
def watch(platform: Platform) -> Iterator[Watch]:
    """Observe it until the block ends."""
    seen, over = Watch(platform), threading.Event()

    def keep_looking() -> None:
        while not over.wait(_EVERY):
            seen.look()

    seen.look()
    looking = ThreadPoolExecutor(1)
    looked = looking.submit(keep_looking)
    try:
        yield seen
    finally:
        over.set()
        looking.shutdown()
    looked.result()
    seen.look()


def process(files: Mapping[str, bytes]) -> tuple[Verdicts, Watch]:
    """Upload all files to a new service, and wait until each has ended."""
    with tempfile.TemporaryDirectory(prefix="hostile-") as folder:
        platform = start_platform(Path(folder), LOG_LEVEL="error")
        try:
            with watch(platform) as seen:
                names = _put_all(files, seen)
                seen.await_ended(len(files))
            return {names[uuid]: verdict for uuid, verdict in _list_verdicts(platform)}, seen
        finally:
            platform.stop()


def _put_all(files: Mapping[str, bytes], seen: Watch) -> dict[str, str]:
    """Put each file to a presigned URL, as a client does. Return their names by uuid."""
    local = threading.local()

    def put(name: str) -> tuple[str, str]:
        session = local.__dict__.setdefault("session", open_session())
        # The file name has no meaning.
        ticket = session.get(f"{seen.platform.url}/api/v1/images/actions/upload-url?extension=jpg", timeout=30).json()
        session.put(ticket["presignedUrl"], data=files[name], timeout=60).raise_for_status()
        return ticket["uuid"], name

    names, uuids = list(files), dict[str, str]()
    with ThreadPoolExecutor(_CLIENTS) as clients:
        for at in range(0, len(names), 100):
            seen.await_ended(at - _AHEAD)
            uuids |= dict(clients.map(put, names[at : at + 100]))
    return uuids


def _list_verdicts(platform: Platform) -> Iterator[tuple[str, str]]:
    path, page = "/api/v1/images?status=succeeded,failed&include=none&limit=100", 1
    while images := requests.get(f"{platform.url}{path}&page={page}", timeout=30).json():
        for image in images:
            yield image["uuid"], ACCEPTED if image["status"] == "succeeded" else image["error"]["code"]
        page += 1
