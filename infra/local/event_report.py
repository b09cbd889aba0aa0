"""The report of the event sources: what of them does not work now. Their process serves it, and others ask for it."""

import http.client

import urllib3
from pydantic import BaseModel, ValidationError

from infra.local import ports
from shared_lib.errors import Unavailable

ANSWER_SECONDS = 10.0


class Report(BaseModel):
    stuck: list[str] = []
    """Threads that hang: their process has to be started again."""
    kafka: list[str] = []
    """Sources that the broker does not serve as it should."""

    @property
    def status(self) -> int:
        return http.client.SERVICE_UNAVAILABLE if self.stuck or self.kafka else http.client.OK


def fetch(port: int, timeout_seconds: float = ANSWER_SECONDS) -> Report | None:
    """Return None if the process does not answer."""
    try:
        response = urllib3.request(
            "GET", f"http://{ports.LOOPBACK}:{port}/", timeout=timeout_seconds, retries=False, redirect=False
        )
        return Report.model_validate_json(response.data)
    except (urllib3.exceptions.HTTPError, ValidationError):
        return None


def find_stuck(port: int) -> str | None:
    """Return why the process of the event sources has to be started again, if it has to be."""
    report = fetch(port)
    return "it does not answer" if report is None else "; ".join(report.stuck) or None


def find_broker_fault(port: int) -> str | None:
    """Return what the event sources miss of the broker, as far as they can tell."""
    report = fetch(port)
    return "; ".join(report.kafka) or None if report else None


def check(port: int, timeout_seconds: float) -> None:
    """Raise Unavailable unless all event sources work."""
    report = fetch(port, timeout_seconds)
    if report is None:
        raise Unavailable("The event sources do not answer")
    if faults := report.stuck + report.kafka:
        raise Unavailable("; ".join(faults))
