"""Connections to PostgreSQL and the store are encrypted, and go to no server that the authority did not name."""

from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr
from tls import Authority, TlsProxy

from shared_lib.addresses import read_database_url
from shared_lib.database.connection import Database
from shared_lib.errors import Misconfigured
from shared_lib.runtime import Runtime
from shared_lib.storage.sdk import make_client
from shared_lib.storage.store import Store


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.create(tmp_path_factory.mktemp("tls") / "ours")


@pytest.fixture(scope="module")
def other_authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.create(tmp_path_factory.mktemp("tls") / "theirs")


@pytest.fixture
def postgres(rt: Runtime, authority: Authority) -> Iterator[int]:
    """Put TLS with a certificate for `localhost` in front of PostgreSQL, whose wheel has none. Yield its port."""
    address = read_database_url(rt.settings.database.url.get_secret_value())
    proxy = TlsProxy(address.socket_path or (address.host, address.port), *authority.issue("localhost"), greeting=b"S")
    yield proxy.port
    proxy.close()


@pytest.fixture
def connect(rt: Runtime, postgres: int) -> Iterator[Callable[[str], Database]]:
    opened = []

    def open_at(query: str, host: str = "localhost") -> Database:
        ours = read_database_url(rt.settings.database.url.get_secret_value())
        user = f"{ours.user}:{ours.password}" if ours.password else ours.user
        url = SecretStr(f"postgresql://{user}@{host}:{postgres}/{ours.database}?{query}")
        opened.append(Database(rt.settings.database.model_copy(update={"url": url})))
        return opened[-1]

    yield open_at
    for each in opened:
        each.disconnect()


def test_verify_full_accepts_a_database_that_the_authority_names(
    connect: Callable[..., Database], authority: Authority
) -> None:
    connect(f"sslmode=verify-full&sslrootcert={authority.certificate}").ping()


def test_verify_full_rejects_another_authority_and_another_name(
    connect: Callable[..., Database], authority: Authority, other_authority: Authority
) -> None:
    ours = f"sslrootcert={authority.certificate}"
    wrong = [
        connect(f"sslmode=verify-full&sslrootcert={other_authority.certificate}"),
        connect("sslmode=verify-full"),  # by the system's authorities
        connect(f"sslmode=verify-full&{ours}", host="127.0.0.1"),
    ]
    connect(f"sslmode=verify-ca&{ours}", host="127.0.0.1").ping()  # the name alone was wrong

    for database in wrong:
        with pytest.raises(Misconfigured):
            database.ping()


@pytest.fixture
def store(rt: Runtime, authority: Authority) -> Iterator[str]:
    parts = urlsplit(rt.settings.store.endpoint_url)
    proxy = TlsProxy((parts.hostname or "", parts.port or 80), *authority.issue("localhost"))
    yield f"https://localhost:{proxy.port}"
    proxy.close()


def test_the_store_is_reached_over_tls_with_its_own_authority(rt: Runtime, store: str, authority: Authority) -> None:
    changed = {"endpoint_url": store, "ca_file": str(authority.certificate)}
    settings = rt.settings.store.model_copy(update=changed)

    Store(settings).ping()
    assert make_client(settings).head_bucket(Bucket=settings.completed_bucket)


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_a_store_that_the_authority_does_not_name_is_rejected(
    rt: Runtime, store: str, authority: Authority, other_authority: Authority, name: str
) -> None:
    trusted = authority if name == "127.0.0.1" else other_authority
    changed = {"endpoint_url": store.replace("localhost", name), "ca_file": str(trusted.certificate)}

    with pytest.raises(Misconfigured):
        Store(rt.settings.store.model_copy(update=changed)).ping()
    by_default = rt.settings.store.model_copy(update={"endpoint_url": store})
    with pytest.raises(Misconfigured):
        Store(by_default).ping()
