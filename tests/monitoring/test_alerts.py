"""Each alert fires when it should, and no other does then: tested with promtool."""

import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from deploy.cluster import combine, of_kind, services
from deploy.strict_schema import schema_errors
from monitoring.rules import ALERTS, COMPONENT, KNOWN, LABELS, QUERIES, RULES, named_labels, named_metrics, write_rules
from service import ROOT

HOURS = 7
MINUTES = HOURS * 60
DAY = 24 * 3600
REQUESTS = "http_server_request_duration_seconds_count{http_response_status_code='%s'}"
STORE = "store_request_duration_seconds_count{outcome='%s'}"
DATABASE = "db_client_operation_duration_seconds_count{outcome='%s'}"
KAFKA = "messaging_client_operation_duration_seconds_count{outcome='%s'}"
REPAIRED = "reconciliation_repairs_total{kind='%s'}"
LAG = "kafka_consumer_group_lag{group='g', topic='image-tasks', partition='%s'}"
CERTIFICATE = "certmanager_certificate_expiration_timestamp_seconds{name='images', namespace='gateway'}"
FREE = "kubelet_volume_stats_available_bytes{namespace='%s', persistentvolumeclaim='data-postgres-0'}"
CAPACITY = "kubelet_volume_stats_capacity_bytes{namespace='%s', persistentvolumeclaim='data-postgres-0'}"
RECENT = "image_attempts_last_hour{outcome='%s', reason='%s'}"

# A service at rest that serves ten requests a second, for seven hours. promtool's time begins at 0.
HEALTHY = {
    "images{status='pending'}": f"0x{MINUTES}",
    "image_oldest_pending_seconds": f"20x{MINUTES}",
    "image_oldest_processing_seconds": f"5x{MINUTES}",
    "dead_letters_last_hour": f"0x{MINUTES}",
    "reconciliation_last_run_timestamp_seconds": f"0+60x{MINUTES}",
    "reconciliation_failed_runs_total": f"0x{MINUTES}",
    "http_server_refusals_total{reason='busy'}": f"0+1x{MINUTES}",
    REQUESTS % 200: f"0+600x{MINUTES}",
    REQUESTS % 404: f"0+600x{MINUTES}",
    REQUESTS % 500: f"0x{MINUTES}",
    STORE % "succeeded": f"0+600x{MINUTES}",
    STORE % "missing": f"0+600x{MINUTES}",
    STORE % "unavailable": f"0+1x{MINUTES}",
    DATABASE % "committed": f"0+600x{MINUTES}",
    DATABASE % "unavailable": f"0+1x{MINUTES}",
    KAFKA % "published": f"0+600x{MINUTES}",
    KAFKA % "failed": f"0+1x{MINUTES}",
    REPAIRED % "requested": f"0+1x{MINUTES}",
    REPAIRED % "object_missing": f"0x{MINUTES}",
    RECENT % ("succeeded", ""): f"3000x{MINUTES}",
    RECENT % ("failed", "corrupt_image"): f"300x{MINUTES}",
    RECENT % ("failed", "worker_lost"): f"0x{MINUTES}",
    RECENT % ("crashed", ""): f"5x{MINUTES}",
    LAG % 0: f"500x{MINUTES}",
    LAG % 1: f"400x{MINUTES}",
    CERTIFICATE: f"{30 * DAY}x{MINUTES}",
    FREE % "image-processing": f"20x{MINUTES}",
    CAPACITY % "image-processing": f"100x{MINUTES}",
    FREE % "another": f"1x{MINUTES}",
    CAPACITY % "another": f"100x{MINUTES}",
}


class Fault(NamedTuple):
    alert: str
    changes: dict[str, str]
    """Series that differ: healthy for the first hour, and then not."""
    labels: tuple[tuple[str, str], ...] = ()
    """Labels that the alert has besides its severity."""


DISK = ("persistentvolumeclaim", "data-postgres-0")
FAULTS = [
    Fault("StateUnknown", {"images{status='pending'}": "0x60 stale"}, (("status", "pending"),)),
    Fault("ImagesWaitTooLong", {"image_oldest_pending_seconds": f"20x60 400+60x{MINUTES}"}),
    Fault("AttemptRunsTooLong", {"image_oldest_processing_seconds": f"5x60 700+60x{MINUTES}"}),
    Fault("RequestsFail", {REQUESTS % 500: f"0x60 0+30x{MINUTES}"}),  # 2.4 %, for hours
    Fault("RequestsFail", {REQUESTS % 503: f"0x60 0+12x{MINUTES}"}),  # 1 %: the slow burn
    Fault("RequestsRefused", {"http_server_refusals_total{reason='busy'}": f"0x60 0+120x{MINUTES}"}),
    Fault("DecodersCrash", {RECENT % ("crashed", ""): f"5x60 60x{MINUTES}"}),
    Fault("ImagesFailForOurReasons", {RECENT % ("failed", "worker_lost"): f"0x60 1x{MINUTES}"}),
    Fault("DeadLetters", {"dead_letters_last_hour": f"0x60 2x{MINUTES}"}),
    Fault("ReconciliationStopped", {"reconciliation_last_run_timestamp_seconds": f"0+60x60 3600x{MINUTES}"}),
    Fault("ReconciliationFails", {"reconciliation_failed_runs_total": f"0x60 0+1x{MINUTES}"}),
    Fault("ObjectsMissing", {REPAIRED % "object_missing": f"0x60 1x{MINUTES}"}, (("kind", "object_missing"),)),
    Fault("DriftRepaired", {REPAIRED % "requested": f"0x60 0+5x{MINUTES}"}),
    Fault("AuditLogNotLinked", {"audit_oldest_unlinked_seconds": f"40x60 301+60x{MINUTES}"}),
    Fault("StoreFails", {STORE % "unavailable": f"0x60 0+100x{MINUTES}"}),
    Fault("DatabaseFails", {DATABASE % "unavailable": f"0x60 0+100x{MINUTES}"}),
    Fault("EventsPileUp", {LAG % 1: f"400x60 600x{MINUTES}"}, (("group", "g"),)),
    Fault("LagUnknown", {LAG % 0: "500x60 stale", LAG % 1: "400x60 stale"}),
    Fault("CertificateExpires", {CERTIFICATE: f"{30 * DAY}x60 {6 * DAY}x{MINUTES}"}, (("name", "images"),)),
    Fault("DiskFills", {FREE % "image-processing": f"20x60 9x{MINUTES}"}, (DISK,)),
    Fault("KafkaFails", {KAFKA % "failed": f"0x60 0+100x{MINUTES}"}),
]


def check(path: Path, *tests: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    promtool = shutil.which("promtool")
    assert promtool, "The alerts' tests need promtool: install it (Debian: sudo apt install prometheus)."
    write_rules(path / "rules.yaml")
    (path / "tests.yaml").write_text(
        yaml.safe_dump({"rule_files": ["rules.yaml"], "evaluation_interval": "3m", "tests": list(tests)})
    )
    return subprocess.run(
        [promtool, "test", "rules", "tests.yaml"], cwd=path, capture_output=True, text=True, check=False
    )


def simulate(series: dict[str, str], firing_at: dict[int, dict[str, dict[str, str]]]) -> dict[str, Any]:
    """Return promtool's test that at each of these minutes exactly these alerts fire, with these labels."""
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [
            {
                "eval_time": f"{minutes}m",
                "alertname": name,
                "exp_alerts": [{"exp_labels": rule["labels"] | firing[name]}] if name in firing else [],
            }
            for minutes, firing in firing_at.items()
            for name, rule in ALERTS.items()
        ],
    }


def test_no_alert_fires_while_all_is_well(tmp_path: Path) -> None:
    done = check(tmp_path, simulate(HEALTHY, {1: {}, 30: {}, MINUTES: {}}))

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.alert)
def test_an_alert_fires_for_its_fault_and_no_other_does(fault: Fault, tmp_path: Path) -> None:
    series = HEALTHY | fault.changes
    done = check(tmp_path, simulate(series, {59: {}, MINUTES: {fault.alert: dict(fault.labels)}}))

    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_fault_that_it_fires_for() -> None:
    assert {each.alert for each in FAULTS} == ALERTS.keys()


def test_every_alert_names_its_section_of_the_runbook() -> None:
    runbook = (ROOT / "docs/operations.md").read_text()
    for name, rule in ALERTS.items():
        assert rule["annotations"]["runbook_url"] == f"docs/operations.md#{name.lower()}"
        assert f"\n### {name}\n" in runbook, name
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"]["summary"]


def test_promtool_accepts_all_rules_with_their_annotations(tmp_path: Path) -> None:
    queries = [{"record": f"dashboard:{number}", "expr": query} for number, query in enumerate(QUERIES)]
    groups = [*RULES["groups"], {"name": "dashboard", "rules": queries}]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}))

    done = subprocess.run(
        ["promtool", "check", "rules", tmp_path / "rules.yaml"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_rules_and_dashboard_name_only_metrics_and_labels_that_exist() -> None:
    rules = [rule["expr"] for group in RULES["groups"] for rule in group["rules"]]
    for query in (*rules, *QUERIES):
        assert named_metrics(query)
        assert named_metrics(query) <= KNOWN, query
        assert named_labels(query) <= LABELS, query


def test_the_component_has_valid_objects_and_keeps_report_state_awake(tmp_path: Path) -> None:
    objects = combine(tmp_path, ("gateway-api", "monitoring"))

    assert [error for each in objects for error in schema_errors(each)] == []
    annotations = services(objects)["report-state"]["spec"]["template"]["metadata"]["annotations"]
    assert annotations["autoscaling.knative.dev/min-scale"] == "1"
    dashboard = of_kind(objects, "ConfigMap")["dashboard"]["data"]["image-processing.json"]
    assert dashboard == (COMPONENT / "dashboard.json").read_text()
