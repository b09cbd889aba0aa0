"""Bootstrap checks the store's security and configures it: on SeaweedFS with and without keys."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest
import requests
from pydantic import ValidationError
from service import find_free_port, wait_for

from shared_lib.domain.uploads import PROBES, UploadTerms
from shared_lib.settings import Store as StoreSettings
from shared_lib.storage.buckets import Inbox
from shared_lib.storage.presigned import UploadUrls
from shared_lib.storage.probe import StoreProbe, UnsafeStore
from shared_lib.storage.sdk import make_client
from shared_lib.storage.setup import StoreSetup
from shared_lib.storage.store import Store

RISKS = (
    "anonymous-read",
    "anonymous-list",
    "anonymous-write",
    "copy-source",
    "other-key",
    "other-method",
    "expired-url",
)


def settings_for(store: dict[str, str], **more: object) -> StoreSettings:
    return StoreSettings(
        endpoint_url=store["S3_ENDPOINT_URL"],
        access_key_id=store["S3_ACCESS_KEY_ID"],
        secret_access_key=store["S3_SECRET_ACCESS_KEY"],
        **more,
    )


@pytest.fixture(scope="module")
def open_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """SeaweedFS without any keys, which checks no signature."""
    folder = tmp_path_factory.mktemp("open")
    ports = {name: find_free_port() for name in ("master", "volume", "filer", "s3")}
    # Its catalogs would listen on fixed ports, and it ends if one of them is taken.
    flags = [f"-{name}.port={port}" for name, port in ports.items()] + ["-s3.port.iceberg=0", "-s3.port.lance=0"]
    command = [f"{Path(sys.executable).with_name('weed')}", "server", "-s3", f"-dir={folder}", "-ip=127.0.0.1", *flags]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, "-ip.bind=127.0.0.1"], cwd=folder, env=environ, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{ports['s3']}"

    def responds() -> bool:
        with suppress(requests.ConnectionError):
            return requests.put(f"{url}/upload-images", timeout=10).status_code in (200, 409)
        return False

    try:
        wait_for(responds, bool, seconds=60)
        yield {"S3_ENDPOINT_URL": url, "S3_ACCESS_KEY_ID": "any", "S3_SECRET_ACCESS_KEY": "any"}
    finally:
        process.kill()  # on SIGTERM it waits half a minute for connections
        process.wait(timeout=30)


def probe(settings: StoreSettings) -> dict[str, bool]:
    StoreSetup(settings).create_buckets()
    return {check.name: check.passed for check in StoreProbe(settings).run()}


def test_a_store_that_checks_signatures_passes_and_stays_unchanged(store: dict[str, str]) -> None:
    settings = settings_for(store)

    found = probe(settings)

    assert set(RISKS) <= found.keys()
    assert [name for name, passed in found.items() if not passed] == []
    assert list(Inbox(Store(settings), settings.upload_bucket).list(PROBES)) == []
    assert list(Inbox(Store(settings), settings.completed_bucket).list(PROBES)) == []


def test_bootstrap_fails_for_a_store_that_checks_nothing_and_names_each_risk(open_store: dict[str, str]) -> None:
    with pytest.raises(UnsafeStore) as caught:
        probe(settings_for(open_store))

    assert all(risk in caught.value.public for risk in RISKS)
    assert f"S3_ACCEPTED_RISKS={','.join(RISKS)}" in caught.value.public


def test_an_operator_can_accept_risks_by_name(open_store: dict[str, str]) -> None:
    found = probe(settings_for(open_store, accepted_risks=",".join(RISKS)))

    assert {name for name, passed in found.items() if not passed} >= set(RISKS)
    with pytest.raises(UnsafeStore, match="expired-url"):
        probe(settings_for(open_store, accepted_risks=",".join(RISKS[:-1])))
    with pytest.raises(ValidationError):
        settings_for(open_store, accepted_risks="everything")


def test_web_pages_of_allowed_origins_can_put_to_upload_urls(store: dict[str, str]) -> None:
    settings = settings_for(store)
    setup = StoreSetup(settings)
    setup.create_buckets()
    assert setup.allow_origins(["https://gallery.example"])
    url = UploadUrls(Store(settings), settings.upload_bucket).sign(f"{(uuid := uuid4())}", 60, UploadTerms())

    def preflight(origin: str) -> requests.Response:
        headers = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "content-type"}
        return requests.options(url, headers={"Origin": origin, **headers}, timeout=10)

    assert preflight("https://gallery.example").headers["Access-Control-Allow-Origin"] == "https://gallery.example"
    assert "Access-Control-Allow-Origin" not in preflight("https://elsewhere.example").headers
    put = requests.put(url, b"x", headers={"Origin": "https://gallery.example"}, timeout=10)
    assert (put.status_code, put.headers["Access-Control-Allow-Origin"]) == (200, "https://gallery.example")
    make_client(settings).delete_bucket_cors(Bucket=settings.upload_bucket)
    Inbox(Store(settings), settings.upload_bucket).delete(str(uuid))


@pytest.fixture
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unset the keys, which are in the environment for the service that tests share."""
    for variable in ("S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.usefixtures("no_keys")
def test_keys_are_optional_but_come_in_pairs() -> None:
    assert StoreSettings(endpoint_url="http://127.0.0.1:1").access_key_id is None
    with pytest.raises(ValidationError, match="S3_SECRET_ACCESS_KEY"):
        StoreSettings(endpoint_url="http://127.0.0.1:1", access_key_id="alone")
    with pytest.raises(ValidationError, match="S3_PRESIGN_SECRET_ACCESS_KEY"):
        StoreSettings(endpoint_url="http://127.0.0.1:1", presign_access_key_id="alone")


@pytest.mark.usefixtures("no_keys")
def test_without_keys_in_settings_the_sdk_finds_its_own(store: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", store["S3_ACCESS_KEY_ID"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", store["S3_SECRET_ACCESS_KEY"])

    found = probe(StoreSettings(endpoint_url=store["S3_ENDPOINT_URL"]))

    assert all(found.values())


@pytest.mark.parametrize("versioned", ["upload_bucket", "completed_bucket"])
def test_a_bucket_that_keeps_old_versions_is_refused_because_nothing_in_it_is_erased(
    store: dict[str, str], versioned: str
) -> None:
    names = {"upload_bucket": f"versions-{uuid4()}", "completed_bucket": f"versions-{uuid4()}"}
    settings = settings_for(store, **names)
    StoreSetup(settings).create_buckets()
    StoreProbe(settings).run()
    enabled = {"Status": "Enabled"}
    make_client(settings).put_bucket_versioning(Bucket=names[versioned], VersioningConfiguration=enabled)  # type: ignore[arg-type]

    with pytest.raises(UnsafeStore, match="what is erased stays"):
        StoreProbe(settings).run()

    StoreProbe(settings_for(store, **names, accepted_risks="versioned-buckets")).run()
