"""Secrets are read from files, which have priority over variables."""

from pathlib import Path

import pytest

from shared_lib import settings
from shared_lib.settings import InvalidSettings

VARIABLES = {
    "DATABASE_URL": "postgresql://us:from-a-variable@db/images",
    "S3_ENDPOINT_URL": "http://store:9000",
    "KAFKA_BOOTSTRAP_SERVERS": "kafka:9092",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for branch in settings.BRANCHES.values():
        for name in branch.model_fields:
            monkeypatch.delenv(branch.name_variable(name), raising=False)
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SECRETS_DIR", str(tmp_path / "secrets"))
    return tmp_path / "secrets"


def test_a_file_has_priority_over_its_variable(folder: Path) -> None:
    folder.mkdir()
    (folder / "..data").mkdir()  # as Kubernetes mounts a Secret: links to a folder that is replaced as a whole
    (folder / "..data" / "DATABASE_URL").write_text("postgresql://us:from-a-file@db/images\n")
    (folder / "DATABASE_URL").symlink_to(folder / "..data" / "DATABASE_URL")
    (folder / "ca.crt").write_text("not a setting")
    (folder / "KAFKA_SASL_USERNAME").write_text("")

    loaded = settings.load.__wrapped__()

    assert loaded.database.url.get_secret_value() == "postgresql://us:from-a-file@db/images"
    assert loaded.store.endpoint_url == "http://store:9000"
    assert loaded.kafka.sasl_username is None, "an empty file is unset"


def test_a_wrong_secret_in_a_file_is_named_and_not_shown(folder: Path) -> None:
    folder.mkdir()
    (folder / "DATABASE_URL").write_text("mysql://us:from-a-file@db/images")

    with pytest.raises(InvalidSettings, match=r"DATABASE_URL: .*postgresql://") as raised:
        settings.load.__wrapped__()

    assert "from-a-file" not in str(raised.value)


def test_a_folder_that_is_not_mounted_is_reported(folder: Path) -> None:
    with pytest.raises(InvalidSettings, match="SECRETS_DIR: must name a folder"):
        settings.load.__wrapped__()
