"""A real Prometheus scrapes the service, evaluates the rules, and has data for the whole dashboard.

`make check-monitoring` goes through the whole loop, with a load and a processor that is killed.
"""

from collections.abc import Iterator

import pytest
from monitoring.prometheus import Ask, compare_gallery, run_prometheus
from monitoring.rules import QUERIES, RECORDED
from service import Api, Platform, make_photo, wait_for


@pytest.fixture(scope="module")
def ask(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    with run_prometheus(platform, tmp_path_factory.mktemp("prometheus")) as ask:
        yield ask


def list_empty(ask: Ask) -> list[str]:
    """Return the queries of the dashboard and the rules that have no data."""
    return [each for each in (*QUERIES, *RECORDED) if not any(row["value"][1] != "NaN" for row in ask(each))]


def test_every_query_of_the_dashboard_returns_data(ask: Ask, api: Api, platform: Platform) -> None:
    up = wait_for(lambda: ask("up == 1"), lambda found: len(found) == 3)
    assert {each["metric"]["job"] for each in up} == {"functions", "state"}

    for _ in range(2):  # a rate needs two scrapes of a series, the second with more
        for data in (make_photo(), b"\xff\xd8\xff no image"):
            api.await_end(api.upload(data))
        wait_for(lambda: ask("sum by (outcome) (sandbox_job_duration_seconds_count)"), lambda found: len(found) == 2)
    compare_gallery(platform)

    wait_for(lambda: list_empty(ask), lambda empty: empty == [], 60)
