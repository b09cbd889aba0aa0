"""Each function exposes what it counted, and the numbers agree with what happened."""

import re
import socket
import subprocess
import sys
from collections.abc import Callable
from uuid import uuid4

import requests
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families
from service import ENVIRONMENT, ROOT, Api, Deliver, Platform, find_consumers, find_port, make_photo, wait_for

from shared_lib import metrics
from shared_lib.broker import Broker
from shared_lib.events import ProcessingRequested
from shared_lib.runtime import Runtime
from shared_lib.services.state_report import MOST_TENANTS, REPAIRS, StateReport, select_largest
from shared_lib.settings import Kafka

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parse(text: str) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scrape(port: int) -> Samples:
    response = requests.get(f"http://127.0.0.1:{port}/_/metrics", timeout=10)
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return parse(response.text)


def total(samples: Samples, name: str, **labels: str) -> float:
    return sum(
        value for (found, pairs), value in samples.items() if found == name and labels.items() <= dict(pairs).items()
    )


def test_the_counts_of_all_choke_points_grow_with_what_happens(platform: Platform, api: Api) -> None:
    gateway, processor = int(platform.url.rpartition(":")[2]), find_port(find_consumers(platform))
    before = scrape(gateway), scrape(processor)

    good, bad = api.upload(make_photo()), api.upload(b"\xff\xd8\xff no image", "bad.jpg")
    for uuid in (good, bad):
        api.await_end(uuid)

    def grown() -> dict[str, float]:
        now = scrape(gateway), scrape(processor)

        def more(place: int, name: str, **labels: str) -> float:
            return total(now[place], name, **labels) - total(before[place], name, **labels)

        return {
            "uploads": more(
                0,
                "http_server_request_duration_seconds_count",
                function="upload_image",
                http_request_method="POST",
                http_response_status_code="200",
            ),
            "puts": more(0, "store_request_duration_seconds_count", http_request_method="PUT", outcome="succeeded"),
            "published": more(
                0,
                "messaging_client_operation_duration_seconds_count",
                messaging_destination_name="image-tasks",
                outcome="published",
            ),
            "accepted": more(1, "messaging_process_duration_seconds_count", outcome="accepted"),
            "rendered": more(1, "sandbox_job_duration_seconds_count", outcome="rendered"),
            "rejected": more(1, "sandbox_job_duration_seconds_count", outcome="rejected"),
            "succeeded": more(1, "image_attempt_duration_seconds_count", outcome="succeeded"),
            "failed": more(1, "image_attempt_duration_seconds_count", outcome="failed"),
            "commits": more(1, "db_client_operation_duration_seconds_count", outcome="committed"),
        }

    found = wait_for(grown, lambda seen: all(value >= 1 for value in seen.values()))
    assert found["uploads"] >= 2


def test_events_that_are_not_accepted_are_counted_by_what_the_source_does_next(deliver: Deliver, rt: Runtime) -> None:
    def count(outcome: str) -> int:
        found = metrics.DELIVERIES.read().get(metrics.Delivery("process_image", outcome))
        return sum(found[0]) if found else 0

    before = {outcome: count(outcome) for outcome in ("dead_lettered", "retried")}
    held = uuid4()
    rt.images.create(held, "held.jpg", None, 0)

    assert deliver("process_image", "unknown.type", {}) == 400
    with rt.claims.hold(held):
        assert deliver("process_image", ProcessingRequested.type, {"uuid": f"{held}"}) == 409

    assert {outcome: count(outcome) - before[outcome] for outcome in before} == {"dead_lettered": 1, "retried": 1}


def test_the_state_is_reported_from_the_database(rt: Runtime, load: Callable[[str], FlaskClient]) -> None:
    response = load("report_state").get("/metrics")

    found = parse(response.text)
    summary = rt.operations.summarize()
    assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert {name for name, _ in found} >= {"images", "image_oldest_pending_seconds", "dead_letters"}
    parts = {f"{metrics.PUBLISH_SECONDS.name}_{part}" for part in ("bucket", "gcount", "gsum")}
    assert {name for name, _ in found} <= {each.name for each in metrics.STATES} | parts
    topics = {dict(labels)["topic"] for name, labels in found if name == "kafka_consumer_group_lag"}
    assert topics == {"bucket-events", "image-tasks"}
    assert {dict(labels)["status"] for name, labels in found if name == "images"} == set(summary.images)


def test_the_state_is_reported_while_kafka_is_out_of_reach(rt: Runtime) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        nowhere = Kafka(bootstrap_servers=f"127.0.0.1:{silent.getsockname()[1]}")
        measured = StateReport(rt.operations, Broker(nowhere)).measure().measured

    assert measured[metrics.LAG] == {}
    assert sum(measured[metrics.IMAGES].values()) >= 0
    assert measured[metrics.RUNS]


def test_labels_of_tenants_are_few() -> None:
    sizes = [(f"tenant-{number}", 1000 - number) for number in range(100)]

    largest = select_largest(sizes)

    assert len(largest) == MOST_TENANTS + 1
    assert sum(largest.values()) == sum(size for _, size in sizes)
    assert largest["tenant-0",] == 1000


def test_no_route_leads_to_metrics(platform: Platform, single_function: tuple[str, int]) -> None:
    assert requests.get(f"{platform.url}/metrics", timeout=10).status_code == 404
    address = "http://{}:{}/_/metrics".format(*single_function)
    assert requests.get(address, timeout=10).status_code == 200
    forwarded = requests.get(address, headers={"X-Forwarded-For": "192.0.2.1"}, timeout=10)
    assert "python" not in forwarded.text
    assert forwarded.status_code == 404


def test_a_made_up_method_makes_no_label(single_function: tuple[str, int]) -> None:
    host, port = single_function
    requests.request("MADEUP", f"http://{host}:{port}/api/v1/images", timeout=10)

    methods = {dict(labels).get("http_request_method") for _, labels in scrape(port)}
    assert "_OTHER" in methods
    assert "MADEUP" not in methods


IMPORTS = """
import sys
import functions_framework
client = functions_framework.create_app("main", "functions/get_health/main.py").test_client()
assert client.get("/api/health/live").status_code == 200
print([name for name in sys.modules if name.partition(".")[0] in ("prometheus_client", "opentelemetry")])
"""


def test_a_function_loads_no_library_for_metrics_until_it_is_scraped(platform: Platform) -> None:
    environ = ENVIRONMENT | platform.environment
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS], cwd=ROOT, env=environ, capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"


def test_every_kind_of_repair_is_reported_from_the_start() -> None:
    """Prometheus sees no increase in the first sample of a series, so an alert would miss the first repair."""
    code = "".join(path.read_text() for path in (ROOT / "shared_lib/services").glob("*.py"))
    kinds = re.findall(r'(?:yield|yield from \(|_in_bulk\(|_delete_object\(found,) ?"([a-z_]+)"', code)

    assert "object_missing" in kinds
    assert set(kinds) == set(REPAIRS)


def test_every_name_follows_the_conventions() -> None:
    for histogram in metrics.HISTOGRAMS:
        assert histogram.name.endswith("_seconds")
    names = [each.name for each in (*metrics.HISTOGRAMS, *metrics.COUNTERS, *metrics.STATES)]
    assert len(set(names)) == len(names)
    assert [each.name for each in metrics.COUNTERS if not each.name.endswith("_total")] == []
