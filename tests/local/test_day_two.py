"""An operator's work on one machine after the first day: a copy of the data, a start on another release."""

import subprocess
from pathlib import Path

import pytest
import requests
from local.test_machine import fail_to_start
from service import Api, make_photo, start_platform


@pytest.mark.timeout(300)  # starts the whole service twice
def test_a_copy_of_the_stopped_services_data_is_a_whole_backup(tmp_path: Path) -> None:
    first = start_platform(tmp_path / "data")
    with requests.Session() as session:
        before = Api(f"{first.url}/api/v1", session)
        photo = make_photo()
        image = before.await_end(before.upload(photo, "kept.jpg"))
        assert first.stop() == 0
        subprocess.run(["cp", "-a", tmp_path / "data", tmp_path / "backup"], check=True)  # keeps owners, too

        second = start_platform(tmp_path / "backup")
        after = Api(f"{second.url}/api/v1", session)
        assert after("GET", f"/images/{image['uuid']}").json() == image
        assert after("GET", f"/images/{image['uuid']}/original").content == photo
        assert after.await_end(after.upload(make_photo()))["status"] == "succeeded"
        assert second.stop() == 0


@pytest.mark.timeout(120)
def test_data_of_another_major_version_of_postgresql_is_refused_and_left_alone(tmp_path: Path) -> None:
    assert start_platform(tmp_path / "data").stop() == 0
    version = tmp_path / "data/postgres/PG_VERSION"
    version.write_text("17\n")
    control = version.with_name("global") / "pg_control"
    before = control.read_bytes()

    message = fail_to_start(tmp_path)

    assert "made by PostgreSQL 17" in message
    assert "docs/deploy.md" in message
    assert (version.read_text(), control.read_bytes()) == ("17\n", before)
