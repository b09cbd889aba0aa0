"""Run a real Prometheus that scrapes the service, as in a cluster but every second."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
import yaml
from monitoring.rules import write_rules
from service import Platform, find_consumers, find_free_port, find_port, serve_function

Ask = Callable[[str], list[dict[str, Any]]]

TICK = {"ce-specversion": "1.0", "ce-id": "tick", "ce-source": "/test", "ce-type": "dev.knative.sources.ping"}


@contextmanager
def run_prometheus(platform: Platform, folder: Path) -> Iterator[Ask]:
    """Scrape the public functions, the processor and report_state. Yield a function that evaluates a query."""
    program = shutil.which("prometheus")
    assert program, "This needs Prometheus: install it (Debian: sudo apt install prometheus)."
    port = find_free_port()
    with serve_function(platform, "report_state") as state:
        counted = [platform.url.removeprefix("http://"), f"127.0.0.1:{find_port(find_consumers(platform))}"]
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [f"{write_rules(folder / 'rules.yml', hold='10s')}"],
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

        try:
            yield ask
        finally:
            process.terminate()
            process.wait(30)


def compare_gallery(platform: Platform) -> None:
    """Have reconciliation compare the gallery with the database, as it does once a day."""
    url = f"http://127.0.0.1:{find_port(find_consumers(platform))}/reconcile-images"
    requests.post(url, json={"scope": "all"}, headers=TICK, timeout=60).raise_for_status()
