"""A real Prometheus scrapes the service, evaluates the rules, and has data for the whole dashboard."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import yaml
from monitoring.rules import QUERIES, RECORDED, write_rules
from service import Api, Platform, find_free_port, find_processes, make_photo, serve_function, wait_for

Ask = Callable[[str], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def ask(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """Run Prometheus, as in a cluster but every second. Return a function that evaluates a query."""
    program = shutil.which("prometheus")
    assert program, "This needs Prometheus: install it (Debian: sudo apt install prometheus)."
    folder = tmp_path_factory.mktemp("prometheus")
    port = find_free_port()
    [processor, *_] = find_processes(platform, service="process-image")
    with serve_function(platform, "report_state") as state:
        counted = [platform.url.removeprefix("http://"), f"127.0.0.1:{processor.environ()['PORT']}"]
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [f"{write_rules(folder / 'rules.yml')}"],
            "scrape_configs": [
                {
                    "job_name": "functions",
                    "metrics_path": "/_/metrics",
                    "static_configs": [{"targets": counted}],
                },
                {"job_name": "state", "static_configs": [{"targets": [f"127.0.0.1:{state}"]}]},
            ],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        process = subprocess.Popen(
            [
                program,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--log.level=error",
            ]
        )

        def ask(query: str) -> list[dict[str, Any]]:
            try:
                response = requests.get(f"http://127.0.0.1:{port}/api/v1/query", {"query": query}, timeout=10)
            except requests.ConnectionError:
                return []
            if response.status_code == 503:  # it is starting
                return []
            found: list[dict[str, Any]] = response.json().get("data", {}).get("result", [])
            return found

        yield ask
        process.terminate()
        process.wait(30)


def test_every_query_of_the_dashboard_returns_data(ask: Ask, api: Api) -> None:
    up = wait_for(lambda: ask("up == 1"), lambda found: len(found) == 3)
    assert {each["metric"]["job"] for each in up} == {"functions", "state"}

    for _ in range(2):  # a rate needs two scrapes of a series, the second with more
        for data in (make_photo(), b"\xff\xd8\xff no image"):
            api.await_end(api.upload(data))
        wait_for(lambda: ask("sum by (outcome) (sandbox_job_duration_seconds_count)"), lambda found: len(found) == 2)

    def list_empty() -> list[str]:
        return [each for each in (*QUERIES, *RECORDED) if not any(row["value"][1] != "NaN" for row in ask(each))]

    wait_for(list_empty, lambda empty: empty == [], 60)
