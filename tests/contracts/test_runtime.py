"""Threads share the clients that they make on first use."""

from concurrent.futures import ThreadPoolExecutor

from pydantic import SecretStr

from shared_lib.settings import Store as StoreSettings
from shared_lib.storage.store import Store


def test_threads_that_start_at_once_share_one_client_of_the_store() -> None:
    store = Store(
        StoreSettings(
            endpoint_url="http://127.0.0.1:1", access_key_id=SecretStr("key"), secret_access_key=SecretStr("secret")
        )
    )
    with ThreadPoolExecutor(8) as pool:
        clients = list(pool.map(lambda _: store.client, range(8)))

    assert len(set(map(id, [*clients, store.signer, store.public_signer]))) == 1
