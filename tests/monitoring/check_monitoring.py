"""The whole loop: a load with broken images, a processor that is killed again and again, and a real Prometheus.

Each alert that should fire fires, no other does, the dashboard has data, and all numbers agree with the database.
"""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from monitoring.prometheus import Ask, compare_gallery, run_prometheus
from monitoring.test_prometheus import list_empty
from pydantic import SecretStr
from service import Api, Platform, find_consumers, make_photo, start_platform, wait_for

from shared_lib import settings
from shared_lib.database.connection import Database

UPLOADS, BROKEN = 200, 3
KILLS = 5
BUSY = 3
"""Attempts that run when the processor is killed, so that more than ten are lost."""

LOST = "SELECT count(*) AS n FROM processing_attempts WHERE outcome IN ('crashed', 'errored', 'lost')"
OURS = "SELECT count(*) AS n FROM images WHERE failure_code IN ('worker_lost', 'delivery_given_up')"
LETTERS = "SELECT count(*) AS n FROM dead_letters"
DRIFT = """
    SELECT coalesce(sum(total), 0) AS n FROM reconciliation_counts WHERE kind IN ('requested', 'adopted', 'announced')
"""
EXPECTED = {
    "DecodersCrash": (LOST, 10),
    "ImagesFailForOurReasons": (OURS, 0),
    "DeadLetters": (LETTERS, 0),
    "DriftRepaired": (DRIFT, 100),
}
"""Alerts that fire if the database has more than so many. That depends on how long the processor was away."""


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Platform]:
    started = start_platform(tmp_path / "service")
    compare_gallery(started)  # the first tick comes within a minute, but alerts are held for seconds only
    yield started
    started.stop()


@pytest.fixture
def database(running: Platform) -> Iterator[Database]:
    opened = Database(settings.Database(url=SecretStr(running.environment["DATABASE_URL"])))
    yield opened
    opened.disconnect()


def count(database: Database, sql: str) -> int:
    with database.transaction() as tx:
        return int(tx.rows(sql)[0]["n"])


def kill_while_busy(running: Platform, database: Database) -> None:
    for _ in range(KILLS):
        wait_for(lambda: count(database, RUNNING), lambda busy: busy >= BUSY, 60)
        find_consumers(running).kill()
        time.sleep(6)  # a lease counts as running for five seconds


def read(rows: list[dict[str, Any]], *labels: str) -> dict[tuple[str, ...], int]:
    return {tuple(row["metric"].get(label, "") for label in labels): int(float(row["value"][1])) for row in rows}


def test_the_alerts_that_should_fire_do_and_all_numbers_agree(
    running: Platform, database: Database, tmp_path: Path
) -> None:
    with run_prometheus(running, tmp_path) as ask, requests.Session() as session, ThreadPoolExecutor(8) as pool:
        api = Api(f"{running.url}/api/v1", session)
        wait_for(lambda: ask("up == 1"), lambda found: len(found) == 3)
        photo = make_photo(2000, 1500)
        bodies = [photo + b"%d" % number for number in range(UPLOADS - BROKEN)] + [b"\xff\xd8\xff no image"] * BROKEN
        uploading = pool.map(api.upload, bodies)
        kill_while_busy(running, database)
        uuids = list(uploading)
        ended = "SELECT count(*) AS n FROM images WHERE status IN ('succeeded', 'failed')"
        wait_for(lambda: count(database, ended), lambda found: found == UPLOADS, 300)
        compare_gallery(running)  # with the images

        assert len(set(uuids)) == UPLOADS
        assert count(database, LOST) > 10
        compare_with_rows(ask, database)
        wait_for(lambda: list_empty(ask), lambda empty: empty == [], 60)
        time.sleep(15)  # an alert is held for ten seconds
        fired = {row["metric"]["alertname"] for row in ask('max_over_time(ALERTS{alertstate="firing"}[1h])')}
        assert fired == {name for name, (sql, most) in EXPECTED.items() if count(database, sql) > most}


def compare_with_rows(ask: Ask, database: Database) -> None:
    """Compare what was counted and what the state says with the rows."""
    with database.transaction() as tx:
        statuses = {(row["status"],): row["n"] for row in tx.rows(STATUSES)}
        attempts = {(row["outcome"], row["reason"]): row["n"] for row in tx.rows(ATTEMPTS)}
        [[succeeded]] = [[row["n"] for row in tx.rows(SUCCEEDED)]]
    assert wait_for(lambda: read(ask("images > 0"), "status"), lambda seen: seen == statuses, 60)
    assert wait_for(
        lambda: read(ask("image_attempts_last_hour > 0"), "outcome", "reason"), lambda seen: seen == attempts, 60
    )
    api = 'http_server_request_duration_seconds_count{function="upload_image", http_response_status_code="200"}'
    assert read(ask(api)) == {(): UPLOADS}
    published = read(ask(PUBLISHED))
    assert published == {(): UPLOADS}
    taken = ask("sum(image_publish_last_hour_seconds_gcount)")
    assert read(taken) == {(): succeeded}
    # What a processor counted within the last second before it was killed was never scraped.
    scraped = ask('sum(increase(image_attempt_duration_seconds_count{outcome="succeeded"}[1h]))')
    assert sum(read(scraped).values()) <= succeeded


RUNNING = """
    SELECT count(*) AS n FROM images WHERE status = 'processing' AND lease_until > now() + interval '15 s'
"""
STATUSES = "SELECT status, count(*) AS n FROM images GROUP BY status"
ATTEMPTS = """
    SELECT outcome, CASE WHEN outcome = 'failed' THEN reason ELSE '' END AS reason, count(*) AS n
    FROM processing_attempts GROUP BY 1, 2
"""
SUCCEEDED = "SELECT count(*) AS n FROM processing_attempts WHERE outcome = 'succeeded'"
PUBLISHED = (
    "sum(messaging_client_operation_duration_seconds_count"
    '{messaging_destination_name="image-tasks", outcome="published", instance!~".*process.*"})'
)
