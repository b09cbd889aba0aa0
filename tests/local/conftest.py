"""Real services for the tests of infra.local: a broker, a store, and sinks."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from local.sink import Responder, Sink

from infra.local import ports, seaweedfs, tansu
from infra.local.processes import Supervisor
from infra.local.seaweedfs import Webhook
from infra.local.settings import Settings


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    [port] = ports.free_ports(1)
    return Settings(port=min(port, 60_000), data_dir=tmp_path_factory.mktemp("data"), inherited=dict(os.environ))


@pytest.fixture(scope="session")
def supervisor(settings: Settings) -> Iterator[Supervisor]:
    with (settings.data_dir / "lock").open("w") as lock:
        supervisor = Supervisor(lock)
        yield supervisor
        supervisor.stop()


@pytest.fixture(scope="session")
def webhook() -> Webhook:
    [port] = ports.free_ports(1)
    return Webhook(port, "only the store knows this")


@pytest.fixture(scope="session")
def store(settings: Settings, supervisor: Supervisor, webhook: Webhook) -> dict[str, str]:
    return seaweedfs.start(supervisor, settings, settings.data_dir / "seaweedfs.log", webhook)


@pytest.fixture(scope="session")
def servers(settings: Settings, supervisor: Supervisor, store: dict[str, str]) -> str:
    """Kafka's address."""
    return tansu.start(supervisor, settings, settings.data_dir / "tansu.log", store)["KAFKA_BOOTSTRAP_SERVERS"]


@pytest.fixture(scope="session")
def admin(servers: str) -> Iterator[KafkaAdminClient]:
    with KafkaAdminClient(bootstrap_servers=servers) as client:
        yield client


@pytest.fixture(scope="session")
def producer(servers: str) -> Iterator[KafkaProducer]:
    producer = KafkaProducer(bootstrap_servers=servers, acks="all")
    yield producer
    producer.close()


@pytest.fixture
def make_topic(admin: KafkaAdminClient, request: pytest.FixtureRequest) -> Callable[[int], str]:
    """Create a topic named after the test."""

    def make(partitions: int) -> str:
        name = f"{request.node.name}"
        admin.create_topics({name: {"num_partitions": partitions, "replication_factor": 1}})
        return name

    return make


@pytest.fixture
def make_sink() -> Iterator[Callable[..., Sink]]:
    made: list[Sink] = []

    def make(respond: Responder = lambda _request: 200, body: bytes = b"") -> Sink:
        made.append(Sink(respond, body))
        return made[-1]

    yield make
    for sink in made:
        sink.close()


@pytest.fixture
def manifest_folder(tmp_path: Path) -> Callable[..., Path]:
    """Create a kustomize folder with these files."""

    def make(**files: str) -> Path:
        folder = tmp_path / f"manifests-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        for name, text in files.items():
            (folder / f"{name}.yaml").write_text(text)
        (folder / "kustomization.yaml").write_text("resources:" + "".join(f"\n  - {name}.yaml" for name in files))
        return folder

    return make
