"""Kafka, as the service uses it. Its client is loaded on first use.

Loading kafka-python takes 0.1 s and 12 MB. Most functions never publish, and should not wait for it.
"""

import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

from shared_lib.events import Payload
from shared_lib.settings import Kafka as KafkaSettings

if TYPE_CHECKING:
    from shared_lib.broker.client import Client


class Broker:
    """A client that all threads share: see `client.py` for what its methods promise."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._loading = threading.Lock()
        self._loaded: Client | None = None

    @property
    def client(self) -> "Client":
        from shared_lib.broker.client import Client  # noqa: PLC0415  see above

        with self._loading:
            if self._loaded is None:
                self._loaded = Client(self._settings)
            return self._loaded

    def publish(self, event: Payload, *, wait: bool = True) -> None:
        self.client.publish(event, wait=wait)

    def ping(self) -> None:
        self.client.ping()

    def measure_lag(self, group: str, topics: Iterable[str], timeout_seconds: float) -> dict[tuple[str, int], int]:
        return self.client.measure_lag(group, topics, timeout_seconds)

    def close(self) -> None:
        """Wait for events that are being sent, as long as a caller would."""
        if self._loaded is not None:
            self._loaded.close()
