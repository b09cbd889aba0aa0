"""The cells of the crash matrix: one signal to one process of a service under load, and an audit afterwards."""

import time
from dataclasses import dataclass
from pathlib import Path

import requests
from chaos.faults import Target, kill, stop
from chaos.load import Load, Photos
from service import Api, start_platform

from benchmarks.audit import Audit, Upload, Verdict
from shared_lib.errors import Unavailable

SIGNALS = ("kill", "stop")
STOP_SECONDS = 15.0  # longer than a lease, and than a request to PostgreSQL, the store or Kafka may take
LEAD_SECONDS = 4.0  # of load before the fault
SETTLE_SECONDS = 300.0
PROBE_SECONDS = 1.0
# Shorter than the defaults (20 s, 30 s, 1 h), so that a cell takes less time. Reconciliation runs every minute.
SETTINGS = {
    "PROCESSING_LEASE_SECONDS": "5",
    "PROCESSING_PENDING_GRACE_SECONDS": "10",
    "PROCESSING_MISSING_OBJECT_SECONDS": "30",
}


@dataclass
class Cell:
    """The effect of one signal to one process."""

    uploads: int
    accepted: int
    working_after: float
    """Seconds from the end of the fault until an image that was uploaded after it had succeeded."""
    settled_after: float
    """Seconds from the end of the fault, or of the load if that ends later, until nothing was left to be done."""
    verdict: Verdict


class Matrix:
    """A running service, its clients' whole history, and the faults that are known by now."""

    def __init__(self, data: Path, uploads: int, rate: float) -> None:
        self.platform = start_platform(data, **SETTINGS)
        self._data = data
        self._uploads = uploads
        self._rate = rate
        self.audit = Audit(data)
        self.history: list[Upload] = []
        self._known: set[str] = set()  # uploads and objects at fault, by the first word of a fault
        self._photos = Photos(800, 600)

    def run(self, target: Target, signal: str) -> Cell:
        """Send a signal to a process under load, and audit the service when it has settled."""
        name = f"{target.name}-{signal}-{time.monotonic_ns()}"
        load = Load(self.platform.url, self._photos, name=name, rate=self._rate, count=self._uploads)
        try:
            time.sleep(min(LEAD_SECONDS, self._uploads / self._rate / 4))
            self._break(target, signal)
            ended = time.monotonic()
            working_after = self._measure_recovery(load) - ended
        finally:
            load.join()
        self.history += load.history
        settled_after = self._settle(at_end=False) - max(ended, load.ended)
        verdict = self._judge(at_end=False)
        return Cell(len(load.history), len(load.accepted), working_after, settled_after, verdict)

    def end(self) -> Verdict:
        """Audit everything once more, when all deleted images have to be erased, too."""
        self._settle(at_end=True)
        return self._judge(at_end=True)

    def _judge(self, *, at_end: bool) -> Verdict:
        """Return the faults that are new."""
        found = vars(self.audit.judge(self.history, at_end=at_end)).values()
        new = [[fault for fault in column if fault.split()[0] not in self._known] for column in found]
        self._known |= {fault.split()[0] for column in new for fault in column}
        return Verdict(*new)

    def _break(self, target: Target, signal: str) -> None:
        process = target.find(self.platform)
        if signal == "stop":
            stop(process, STOP_SECONDS)
            return
        kill(process)
        if target.ends_all:
            self.platform.process.wait()
            port = self.platform.url.rpartition(":")[2]
            self.platform = start_platform(self._data, PORT=port, **SETTINGS)

    def _measure_recovery(self, load: Load) -> float:
        """Send an upload every second, and return the time when the first of them has succeeded."""
        deadline = time.monotonic() + SETTLE_SECONDS
        uuids: list[str] = []
        with requests.Session() as session:
            api = Api(f"{self.platform.url}/api/v1", session)
            while time.monotonic() < deadline:
                if uuid := load.probe(api):
                    uuids.append(uuid)
                until = time.monotonic() + PROBE_SECONDS
                while time.monotonic() < until:
                    if any(is_successful(api, uuid) for uuid in uuids):
                        return time.monotonic()
                    time.sleep(0.1)
        return time.monotonic()

    def _settle(self, *, at_end: bool) -> float:
        """Wait until nothing is left to be done, and return that time."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < deadline:
            try:
                if not self.audit.find_unsettled(self.history, at_end=at_end):
                    break
            except Unavailable:
                pass
            time.sleep(0.5)
        return time.monotonic()


def is_successful(api: Api, uuid: str) -> bool:
    try:
        return api("GET", f"/images/{uuid}").json().get("status") == "succeeded"  # type: ignore[no-any-return]
    except requests.RequestException:
        return False
