"""Misconfigurations are distinguished from outages, causes are logged, and waiting for the database is limited."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr
from service import ENVIRONMENT, Platform
from store_proxy import Answer, StoreProxy, break_off, cut_documents, drop_headers

from shared_lib.database.connection import Database
from shared_lib.domain.multipart import MultipartUpload
from shared_lib.errors import Misconfigured, RequestRejected, ServiceError, Unavailable, describe_cause
from shared_lib.runtime import Runtime
from shared_lib.storage.buckets import Bucket
from shared_lib.storage.multipart import MultipartStore
from shared_lib.storage.store import Store

NOWHERE = "127.0.0.1:1"


@contextmanager
def serving(reply: bytes) -> Iterator[int]:
    """Run a server that sends the same reply to everyone and hangs up. Yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    client.recv(1024)
                    client.sendall(reply)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def database_at(rt: Runtime, url: str, **more: Any) -> Database:
    return Database(rt.settings.database.model_copy(update={"url": SecretStr(url), **more}))


def store_with(rt: Runtime, **changed: Any) -> Store:
    return Store(rt.settings.store.model_copy(update={"timeout_seconds": 2, **changed}))


@pytest.mark.parametrize(
    ("change", "sqlstate"),
    [
        (lambda url: url.replace("/images?", "/none?"), "3D000"),
        (lambda url: url.replace("images_owner@", "nobody@"), "28000"),
    ],
)
def test_rejected_settings_of_the_database_are_a_misconfiguration(
    rt: Runtime, change: Callable[[str], str], sqlstate: str
) -> None:
    with pytest.raises(Misconfigured) as raised:
        database_at(rt, change(rt.settings.database.url.get_secret_value())).ping()

    assert f"PostgresError: {sqlstate}" in str(describe_cause(raised.value))
    assert sqlstate not in raised.value.public


def test_missing_tables_are_a_misconfiguration(rt: Runtime) -> None:
    with pytest.raises(Misconfigured) as raised, rt.database.transaction() as tx:
        tx.rows("SELECT 1 FROM no_such_table")

    assert "42P01" in str(describe_cause(raised.value))


def test_a_database_without_tls_is_a_misconfiguration(rt: Runtime) -> None:
    with serving(b"N") as port, pytest.raises(Misconfigured):
        database_at(rt, f"postgresql://us@127.0.0.1:{port}/images?sslmode=require").ping()


@pytest.mark.parametrize("reply", [None, b""])
def test_a_database_that_does_not_answer_is_unavailable(rt: Runtime, reply: bytes | None) -> None:
    with serving(reply or b"") as port, pytest.raises(Unavailable) as away:
        place = NOWHERE if reply is None else f"127.0.0.1:{port}"
        database_at(rt, f"postgresql://us@{place}/images?sslmode=disable").ping()

    assert not isinstance(away.value, Misconfigured)
    assert describe_cause(away.value)


def test_bootstrap_ends_with_one_sentence_when_the_database_hangs_up(rt: Runtime, platform: Platform) -> None:
    with serving(b"") as port:
        url = f"postgresql://us:secret@127.0.0.1:{port}/images?sslmode=disable"
        ended = subprocess.run(
            [sys.executable, "-m", "shared_lib.commands.bootstrap"],
            env=ENVIRONMENT | platform.environment | {"DATABASE_URL": url},
            capture_output=True,
            text=True,
            check=False,
        )

    assert ended.returncode == 1
    assert ended.stderr.endswith("bootstrap: The database is out of reach\n")
    assert "InterfaceError" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "secret" not in ended.stderr


def test_the_server_cancels_a_statement_that_takes_too_long(rt: Runtime) -> None:
    url = rt.settings.database.url.get_secret_value()
    database = database_at(rt, url, statement_timeout_seconds=0.3)
    with pytest.raises(Unavailable, match="took too long") as slow, database.transaction() as tx:
        tx.rows("SELECT pg_sleep(20), 'too slow'")

    database.disconnect()
    assert "57014" in str(describe_cause(slow.value))
    with rt.database.transaction() as tx:
        running = "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%too slow%' AND pid <> pg_backend_pid()"
        assert not tx.rows(f"{running} AND state = 'active'")


def test_the_server_ends_a_transaction_whose_process_has_stopped(rt: Runtime) -> None:
    stopped = database_at(rt, rt.settings.database.url.get_secret_value(), statement_timeout_seconds=0.3)
    with pytest.raises(Unavailable), stopped.transaction() as tx:
        tx.rows("SELECT pg_advisory_xact_lock(77)")
        time.sleep(0.1)
        with rt.database.transaction() as other:
            assert not other.rows("SELECT pg_try_advisory_xact_lock(77) AS locked")[0]["locked"]
            time.sleep(1.2)
            assert other.rows("SELECT pg_try_advisory_xact_lock(77) AS locked")[0]["locked"]
        tx.rows("SELECT 1")

    stopped.ping()
    with stopped.transaction(idle_seconds=5) as tx:
        time.sleep(1.2)
        tx.rows("SELECT 1")
    stopped.disconnect()


def test_a_process_opens_at_most_pool_size_connections(rt: Runtime) -> None:
    database = database_at(rt, rt.settings.database.url.get_secret_value(), pool_size=2)

    def ask(_: int) -> int:
        with database.transaction() as tx:
            return int(tx.rows("SELECT pg_backend_pid() AS pid, pg_sleep(0.05)")[0]["pid"])

    with ThreadPoolExecutor(12) as pool:
        assert 1 <= len(set(pool.map(ask, range(24)))) <= 2
    database.disconnect()


def test_waiting_too_long_for_a_connection_is_reported(rt: Runtime) -> None:
    url = rt.settings.database.url.get_secret_value()
    database = database_at(rt, url, pool_size=1, statement_timeout_seconds=0.5)
    with database.transaction(), ThreadPoolExecutor(1) as other:
        began = time.monotonic()
        with pytest.raises(Unavailable, match="connections"):
            other.submit(database.ping).result()
        assert time.monotonic() - began < 5
    database.ping()
    database.disconnect()


def test_connections_that_broke_while_idle_are_replaced_silently(rt: Runtime) -> None:
    database = database_at(rt, rt.settings.database.url.get_secret_value(), pool_size=2)
    with database.transaction() as one, database.transaction() as other:
        pids = [tx.rows("SELECT pg_backend_pid() AS pid")[0]["pid"] for tx in (one, other)]
    with rt.database.transaction() as tx:
        tx.rows("SELECT pg_terminate_backend(pid) FROM unnest(CAST(:pids AS int[])) AS pid", pids=pids)

    database.ping()
    database.ping()
    database.disconnect()


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"secret_access_key": SecretStr("wrong")}, "SignatureDoesNotMatch"),
        ({"access_key_id": SecretStr("nobody")}, "InvalidAccessKeyId"),
        ({"upload_bucket": "no-such-bucket"}, "NoSuchBucket"),
    ],
)
def test_rejected_settings_of_the_store_are_a_misconfiguration(rt: Runtime, changed: dict[str, Any], code: str) -> None:
    store = store_with(rt, **changed)
    with pytest.raises(Misconfigured) as raised:
        list(Bucket(store, changed.get("upload_bucket", rt.settings.store.upload_bucket)).list())
    with pytest.raises(Misconfigured):
        store.ping()

    cause = str(describe_cause(raised.value))
    assert "GET " in cause
    assert code in cause
    assert code not in raised.value.public
    secret = rt.settings.store.secret_access_key
    assert secret
    assert secret.get_secret_value() not in cause


def test_a_store_without_tls_is_a_misconfiguration(rt: Runtime) -> None:
    encrypted = rt.settings.store.endpoint_url.replace("http://", "https://")
    with pytest.raises(Misconfigured) as raised:
        store_with(rt, endpoint_url=encrypted).ping()

    assert "SSL" in str(describe_cause(raised.value))


def test_a_store_that_does_not_answer_is_unavailable(rt: Runtime) -> None:
    with pytest.raises(Unavailable) as away:
        store_with(rt, endpoint_url=f"http://{NOWHERE}").ping()

    assert not isinstance(away.value, Misconfigured)
    assert "NewConnectionError" in str(describe_cause(away.value))


def test_a_request_that_the_store_rejects_is_neither_an_outage_nor_a_misconfiguration(rt: Runtime) -> None:
    with pytest.raises(RequestRejected) as raised:
        rt.gallery.put("x" * 2000, b"", "text/plain")

    assert isinstance(raised.value, ServiceError)
    assert "KeyTooLong" in str(describe_cause(raised.value))


@pytest.fixture
def store_proxy(rt: Runtime) -> Iterator[StoreProxy]:
    proxy = StoreProxy(rt.settings.store.endpoint_url)
    yield proxy
    proxy.close()


READ_STORE: dict[str, Callable[[Bucket, MultipartStore, MultipartUpload], object]] = {
    "head": lambda bucket, _parts, _upload: bucket.head("damaged/0"),
    "list": lambda bucket, _parts, _upload: [*bucket.list("damaged/")],
    "delete many": lambda bucket, _parts, _upload: bucket.delete("damaged/0", "damaged/1"),
    "begin an upload in parts": lambda _bucket, parts, _upload: parts.begin("damaged/2"),
    "list parts": lambda _bucket, parts, upload: parts.list_parts(upload),
    "list uploads in parts": lambda _bucket, parts, _upload: [*parts.list()],
}


@pytest.mark.parametrize("damage", [cut_documents, drop_headers, break_off])
@pytest.mark.parametrize("request_", READ_STORE.values(), ids=READ_STORE)
def test_an_answer_of_the_store_that_is_cut_off_is_an_outage(
    rt: Runtime,
    store_proxy: StoreProxy,
    request_: Callable[[Bucket, MultipartStore, MultipartUpload], object],
    damage: Callable[[Answer], Answer],
) -> None:
    store = store_with(rt, endpoint_url=store_proxy.url)
    bucket, parts = Bucket(store, rt.inbox.name), MultipartStore(store, rt.inbox.name)
    for number in range(2):
        bucket.put(f"damaged/{number}", b"photo", "text/plain")
    key = f"{(uuid := uuid4())}"
    upload = MultipartUpload(
        uuid=uuid, key=key, upload_id=parts.begin(key), size=1, part_size=1, expires_at=datetime.now(UTC)
    )
    store_proxy.damage = damage
    failure = None
    try:
        request_(bucket, parts, upload)
    except Unavailable as error:
        failure = error
    finally:
        store_proxy.damage = None
    try:
        assert bool(failure) == bool(store_proxy.damaged), failure
        assert not isinstance(failure, Misconfigured)
    finally:
        bucket.delete("damaged/0", "damaged/1")
        for stored in [*parts.list()]:
            parts.abort(stored.key, stored.upload_id)


def test_a_download_without_a_size_is_an_outage(rt: Runtime, store_proxy: StoreProxy) -> None:
    bucket = Bucket(store_with(rt, endpoint_url=store_proxy.url), rt.inbox.name)
    bucket.put("damaged", b"photo", "text/plain")
    store_proxy.damage = break_off
    with pytest.raises(Unavailable):
        bucket.read("damaged")
    store_proxy.damage = None
    bucket.delete("damaged")
