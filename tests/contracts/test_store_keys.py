"""The store's keys come from the settings, or else from where the AWS SDK finds them."""

import pytest

from shared_lib.errors import Misconfigured
from shared_lib.settings import Store as StoreSettings
from shared_lib.storage.store import Store


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> StoreSettings:
    """Return settings without keys, in an environment without any."""
    for variable in ("S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return StoreSettings(endpoint_url="http://127.0.0.1:1")


def test_without_keys_in_the_settings_those_of_the_sdk_sign(
    settings: StoreSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "temporary")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")

    url = Store(settings).sign_put("inbox", "key", 60, {})

    assert "X-Amz-Credential=temporary%2F" in url
    assert "X-Amz-Security-Token=token&" in url


def test_without_any_keys_the_store_is_misconfigured(settings: StoreSettings) -> None:
    with pytest.raises(Misconfigured):
        Store(settings).ping()
