"""Services outside the service: a store and a broker that damage what they answer, and a database with a clock."""

import itertools
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from kafka_proxy import UNKNOWN_SERVER_ERROR, KafkaProxy
from local.embedded import supervise
from store_proxy import StoreProxy, break_off, cut_documents, drop_headers

from infra.local import ports, postgres, seaweedfs, tansu
from infra.local.notifications import Receiver

DAMAGES = (cut_documents, drop_headers, break_off)
DAMAGE_SECONDS = 1.0  # of each


class Database:
    """A PostgreSQL whose clock can be set. libfaketime does that for C programs: Python's waits fail with it."""

    def __init__(self, data: Path) -> None:
        data.mkdir(parents=True)
        self._clock = data / "clock"
        self.set_clock("+0")
        self._stack = ExitStack()
        supervisor, settings = self._stack.enter_context(supervise(data))
        faked = settings.inherited | {
            "LD_PRELOAD": f"{find_faketime()}",
            "FAKETIME_TIMESTAMP_FILE": f"{self._clock}",
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        settings = settings.model_copy(update={"inherited": faked})
        self.environment = postgres.start(supervisor, settings, data / "postgres.log")

    def set_clock(self, offset: str) -> None:
        """Set it to seconds that are added to the right time."""
        self._clock.write_text(offset)

    def close(self) -> None:
        self._stack.close()


def find_faketime() -> Path | None:
    """Return libfaketime, which changes the clock of the processes that load it."""
    return next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


class Services:
    """Like a MinIO that sends its notifications to Kafka: what the store reports goes there from this process."""

    def __init__(self, data: Path) -> None:
        data.mkdir(parents=True)
        self._stack = ExitStack()
        supervisor, settings = self._stack.enter_context(supervise(data))
        [port] = ports.free_ports(1)
        store = seaweedfs.start(supervisor, settings, data / "seaweedfs.log", seaweedfs.Webhook(port, "token"))
        servers = tansu.start(supervisor, settings, data / "tansu.log", store)["KAFKA_BOOTSTRAP_SERVERS"]
        receiver = Receiver(port, servers, "token")
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        self.store, self.broker = StoreProxy(store["S3_ENDPOINT_URL"]), KafkaProxy(servers)
        for each in (self.broker.close, self.store.close, receiver.server_close, receiver.shutdown):
            self._stack.callback(each)
        self.environment = {
            **store,
            "S3_ENDPOINT_URL": self.store.url,
            "KAFKA_BOOTSTRAP_SERVERS": self.broker.address,
            "KAFKA_PARTITIONS": "1",
        }

    def close(self) -> None:
        self._stack.close()

    @contextmanager
    def broker_errors(self) -> Iterator[None]:
        self.broker.produce = self.broker.topics = UNKNOWN_SERVER_ERROR
        try:
            yield
        finally:
            self.broker.produce = self.broker.topics = None

    @contextmanager
    def store_damage(self) -> Iterator[None]:
        ended = threading.Event()

        def alternate() -> None:
            for damage in itertools.cycle(DAMAGES):
                self.store.damage = damage
                if ended.wait(DAMAGE_SECONDS):
                    break
            self.store.damage = None

        thread = threading.Thread(target=alternate)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
