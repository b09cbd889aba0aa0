"""The cells of the crash matrix: one fault of a service under load, and an audit afterwards."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import requests
from chaos.faults import BROKEN_STARTS, Fault
from chaos.load import Load, Photos
from chaos.outside import Database, Services
from service import ROOT, Api, launch_platform, start_platform

from benchmarks.audit import Audit, Upload, Verdict
from shared_lib.errors import Unavailable

LEAD_SECONDS = 4.0  # of load before the fault
SETTLE_SECONDS = 300.0
END_SECONDS = 900.0  # what was deleted while the clock was ahead is erased when the time has caught up
PROBE_SECONDS = 1.0
# Shorter than the defaults (20 s, 30 s, 1 h), so that a cell takes less time. Reconciliation runs every minute.
SETTINGS = {
    "PROCESSING_LEASE_SECONDS": "5",
    "PROCESSING_PENDING_GRACE_SECONDS": "10",
    "PROCESSING_MISSING_OBJECT_SECONDS": "30",
}
KINDS = ("plain", "new", "outside", "clock")
"""Services that cells need: `make run` as it is, one whose first starts are killed, one with a store and a broker
outside that damage their answers, and one with a database outside whose clock is set.
"""
OUTSIDE: Mapping[str, type[Services | Database]] = {"outside": Services, "clock": Database}


@dataclass
class Cell:
    """The effect of a fault."""

    uploads: int
    accepted: int
    working_after: float
    """Seconds from the end of the fault until an image that was uploaded after it had succeeded."""
    settled_after: float
    """Seconds from the end of the fault, or of the load if that ends later, until nothing was left to be done."""
    verdict: Verdict
    failures: int
    """Requests that were answered with another 5xx than 503."""


class Matrix:
    """A running service, its clients' whole history, and the faults that are known by now."""

    def __init__(self, data: Path, uploads: int, rate: float, kind: str = "plain") -> None:
        data.mkdir(exist_ok=True)
        self.data = data
        self._settings = dict(SETTINGS)
        self._outside: Services | Database | None = None
        if kind in OUTSIDE:
            self._outside = OUTSIDE[kind](data / "services")
            self._settings |= self._outside.environment
        if kind == "new":
            self._kill_first_starts()
        self.platform = start_platform(data, **self._settings)
        self._uploads = uploads
        self._rate = rate
        self.audit = Audit(data)
        self.history: list[Upload] = []
        self._known: set[str] = set()  # uploads and objects at fault, by the first word of a fault
        self._photos = Photos(800, 600)

    @property
    def services(self) -> Services:
        assert isinstance(self._outside, Services)
        return self._outside

    @property
    def database(self) -> Database:
        assert isinstance(self._outside, Database)
        return self._outside

    def restart(self) -> None:
        """Start the service again where it was, once what is left of it has ended."""
        self.platform.process.wait()
        self.platform = start_platform(self.data, PORT=self._port, **self._settings)

    def begin_start(self) -> None:
        self.platform = launch_platform(ROOT, self.data, {"PORT": self._port, **self._settings})

    def close(self) -> int:
        """Stop the service. Return its exit code."""
        code = self.platform.stop()
        if self._outside:
            self._outside.close()
        return code

    @property
    def _port(self) -> str:
        return self.platform.url.rpartition(":")[2]

    def _kill_first_starts(self) -> None:
        """Kill the first starts, which make the cluster, its tables, buckets and topics."""
        for seconds in BROKEN_STARTS:
            process = launch_platform(ROOT, self.data, self._settings).process
            time.sleep(seconds)
            process.kill()
            process.wait()

    def run(self, fault: Fault) -> Cell:
        """Break the service under load, and audit it when it has settled."""
        name = f"{fault.name.replace('/', '-')}-{time.monotonic_ns()}"
        load = Load(self.platform.url, self._photos, name=name, rate=self._rate, count=self._uploads)
        try:
            time.sleep(min(LEAD_SECONDS, self._uploads / self._rate / 4))
            fault.run(self)
            ended = time.monotonic()
            working_after = self._measure_recovery(load) - ended
        finally:
            load.join()
        self.history += load.history
        settled_after = self._settle(at_end=False) - max(ended, load.ended)
        verdict = self._judge(at_end=False)
        return Cell(len(load.history), len(load.accepted), working_after, settled_after, verdict, load.count_failures())

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
        deadline = time.monotonic() + (END_SECONDS if at_end else SETTLE_SECONDS)
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
