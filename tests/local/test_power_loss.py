"""Starts after a power loss, which may leave empty files, old ones, and a store that has lost the last it was given."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from local.embedded import make_kafka_source, run_another_program, run_store, start_store, supervise
from local.sink import Sink
from service import ROOT, wait_for

from infra.local import postgres, tansu
from infra.local.broker_log import BUCKET, find_dependents
from infra.local.kafka_source import KafkaSourceRunner


@pytest.mark.parametrize(
    "damage", [lambda path: path.write_bytes(b""), lambda path: path.write_bytes(bytes(300))], ids=["empty", "zeros"]
)
def test_the_store_starts_with_damaged_files_and_names_them(
    tmp_path: Path, damage: Callable[[Path], object], capsys: pytest.CaptureFixture[str]
) -> None:
    with run_store(tmp_path) as s3:
        s3.create_bucket(Bucket="kept")
    files = [tmp_path / "seaweedfs" / "identities.json", tmp_path / "seaweedfs" / "listening.json", tmp_path / "s3.ini"]
    for path in files:
        damage(path)

    with run_store(tmp_path) as s3:
        assert s3.list_objects_v2(Bucket="kept")["KeyCount"] == 0

    errors = capsys.readouterr().err
    assert all(f"{path} is damaged" in errors for path in files[:2])


def test_files_of_a_run_are_only_for_its_user(tmp_path: Path) -> None:
    with run_store(tmp_path):
        pass

    for path in (tmp_path / "s3.ini", tmp_path / "seaweedfs" / "identities.json"):
        assert path.stat().st_mode & 0o077 == 0, path


@pytest.fixture
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory that PostgreSQL's own user may reach."""
    folder = tmp_path_factory.mktemp("data")
    for each in (folder, folder.parent, folder.parent.parent):
        each.chmod(0o755)
    return folder


@pytest.mark.parametrize("content", ["{pid}", "", "0" * 40], ids=["of another program", "empty", "damaged"])
def test_postgresql_starts_with_the_lock_file_of_a_server_that_is_gone(data: Path, content: str) -> None:
    with supervise(data) as (supervisor, settings):
        postgres.start(supervisor, settings, data / "postgres.log")
    with run_another_program() as pid:
        lines = [content.format(pid=pid), f"{data / 'postgres'}", "1", "5432", "", "", "1 1", "ready   "]
        (data / "postgres/postmaster.pid").write_text("\n".join(lines) + "\n" if content else "")

        with supervise(data) as (supervisor, settings):
            assert postgres.start(supervisor, settings, data / "postgres.log")["DATABASE_URL"]


def test_a_server_that_still_runs_keeps_its_lock_file(data: Path) -> None:
    with supervise(data) as (supervisor, settings):
        postgres.start(supervisor, settings, data / "postgres.log")
        lock = data / "postgres/postmaster.pid"
        before = lock.read_text()
        postgres.remove_stale_lock(data / "postgres")

        assert lock.read_text() == before


SUPERVISED = """
import signal
from infra.local.processes import Supervisor
supervisor = Supervisor(open("lock", "w"))
(supervisor.scratch / "left.sock").touch()
print(supervisor.scratch, supervisor._guard.pid, flush=True)
signal.pause()
"""


def test_the_next_run_removes_the_sockets_that_a_power_loss_left(tmp_path: Path) -> None:
    environ = os.environ | {"PYTHONPATH": f"{ROOT}"}
    lost = subprocess.Popen([sys.executable, "-c", SUPERVISED], cwd=tmp_path, env=environ, stdout=subprocess.PIPE)
    assert lost.stdout
    left, guard = lost.stdout.readline().decode().split()
    os.kill(int(guard), signal.SIGKILL)
    lost.kill()
    lost.communicate()
    assert list(Path(left).iterdir())

    with supervise(tmp_path) as (supervisor, _):
        assert supervisor.scratch == Path(left)
        assert not list(supervisor.scratch.iterdir())
    assert not Path(left).exists()


def test_a_broker_whose_store_has_lost_the_end_of_its_log_works_again(
    tmp_path: Path, make_sink: Callable[..., Sink]
) -> None:
    sink = make_sink()
    with supervise(tmp_path) as (supervisor, settings):
        store = start_store(supervisor, settings)
        servers = tansu.start(supervisor, settings, tmp_path / "tansu.log", store)["KAFKA_BOOTSTRAP_SERVERS"]
        with KafkaAdminClient(bootstrap_servers=servers) as admin:
            admin.create_topics({name: {"num_partitions": 1, "replication_factor": 1} for name in ("old", "new")})
        send(servers, "old", b"kept")
        with reading(servers, "new", sink):
            send(servers, "new", b"first")
            sink.await_requests(1, seconds=60)
    [volume] = (tmp_path / "seaweedfs/data").glob(f"{BUCKET}_*.dat")
    os.truncate(volume, volume.stat().st_size - 1_500)

    with supervise(tmp_path) as (supervisor, settings):
        store = start_store(supervisor, settings)
        servers = tansu.start(supervisor, settings, tmp_path / "tansu.log", store)["KAFKA_BOOTSTRAP_SERVERS"]
        with reading(servers, "new", sink):
            send(servers, "new", b"later")
            wait_for(lambda: sink.bodies, lambda bodies: b"later" in bodies, seconds=60)
        assert read(servers, "old") == [b"kept"]


def test_a_topic_that_no_source_reads_can_be_read_after_its_last_event_was_lost(tmp_path: Path) -> None:
    with supervise(tmp_path) as (supervisor, settings):
        store = start_store(supervisor, settings)
        servers = tansu.start(supervisor, settings, tmp_path / "tansu.log", store)["KAFKA_BOOTSTRAP_SERVERS"]
        with KafkaAdminClient(bootstrap_servers=servers) as admin:
            admin.create_topics({"announced": {"num_partitions": 1, "replication_factor": 1}})
        send(servers, "announced", b"lost")
    [volume] = (tmp_path / "seaweedfs/data").glob(f"{BUCKET}_*.dat")
    os.truncate(volume, volume.stat().st_size - 100)  # only the batch itself

    with supervise(tmp_path) as (supervisor, settings):
        store = start_store(supervisor, settings)
        servers = tansu.start(supervisor, settings, tmp_path / "tansu.log", store)["KAFKA_BOOTSTRAP_SERVERS"]
        send(servers, "announced", b"later")
        assert read(servers, "announced") == [b"later"]


def read(servers: str, topic: str) -> list[bytes]:
    """Return all events of a topic with one partition."""
    with closing(KafkaConsumer(bootstrap_servers=servers)) as consumer:
        consumer.assign([TopicPartition(topic, 0)])
        consumer.seek_to_beginning()
        [found] = wait_for(lambda: consumer.poll(500), bool).values()
    return [each.value for each in found]


@contextmanager
def reading(servers: str, topic: str, sink: Sink) -> Iterator[None]:
    runner = KafkaSourceRunner(make_kafka_source(topic), servers, sink.url, None)
    runner.start()
    try:
        yield
    finally:
        runner.stop(1)


def send(servers: str, topic: str, value: bytes) -> None:
    with closing(KafkaProducer(bootstrap_servers=servers, acks="all")) as producer:
        producer.send(topic, value).get(timeout=20)


def test_objects_of_a_damaged_log_are_deleted_with_all_that_needs_them() -> None:
    log = "clusters/image-processing"
    tasks, others = f"{log}/topics/image-tasks/partitions/0000000000", f"{log}/topics/others/partitions/0000000000"
    group = f"{log}/groups/consumers/processors"
    keys = [f"{log}/meta.json", f"{group}.json", f"{group}/offsets/image-tasks/partitions/0000000000.json"]
    keys += [f"{each}/{name}" for each in (tasks, others) for name in ("records/0.batch", "watermark.json")]

    assert find_dependents(keys, [f"{group}.json"]) == [f"{group}.json"]
    assert find_dependents(keys, [f"{tasks}/watermark.json"]) == [keys[2], *keys[3:5]]
    assert find_dependents(keys, [f"{tasks}/records/0.batch"]) == [keys[2], *keys[3:5]]
    assert find_dependents(keys, [keys[0]]) == keys
