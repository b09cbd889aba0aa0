"""The rules and the dashboard of the monitoring component, and the metrics that their queries name."""

import json
import re
from itertools import chain
from pathlib import Path
from typing import Any

import yaml
from service import ROOT

from shared_lib import metrics

COMPONENT = ROOT / "infra/k8s/components/monitoring"
RULES: dict[str, Any] = yaml.safe_load((COMPONENT / "rules.yaml").read_text())["spec"]
ALERTS: dict[str, dict[str, Any]] = {
    rule["alert"]: rule for group in RULES["groups"] for rule in group["rules"] if "alert" in rule
}
RECORDED: dict[str, dict[str, Any]] = {
    rule["record"]: rule for group in RULES["groups"] for rule in group["rules"] if "record" in rule
}
DASHBOARD: dict[str, Any] = json.loads((COMPONENT / "dashboard.json").read_text())
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]

EXTERNAL = {
    "certmanager_certificate_expiration_timestamp_seconds": ("name", "namespace"),
    "kubelet_volume_stats_available_bytes": ("namespace", "persistentvolumeclaim"),
    "kubelet_volume_stats_capacity_bytes": ("namespace", "persistentvolumeclaim"),
}
"""Metrics of others, by their labels: cert-manager 1.16 and the kubelet."""
KNOWN = {
    *EXTERNAL,
    *(f"{each.name}_{part}" for each in metrics.HISTOGRAMS for part in ("bucket", "count", "sum")),
    f"{metrics.PUBLISH_SECONDS.name}_bucket",
    *(each.name for each in (*metrics.COUNTERS, *metrics.STATES)),
    *RECORDED,
    "ALERTS",
}
LABELS = {*chain.from_iterable(EXTERNAL.values())} | {
    label for each in (*metrics.HISTOGRAMS, *metrics.COUNTERS, *metrics.STATES) for label in each.labels
}
_WORDS = {"and", "or", "by", "le", "for", "vector", "time", "sum", "max", "count", "rate", "increase", "absent"}
_WORDS |= {"histogram_quantile", "without", "min", "unless", "on"}


def named_metrics(query: str) -> set[str]:
    """Return the metrics that a query names: its words outside braces, brackets and `by (…)`."""
    bare = re.sub(r"\{.*?\}|\[.*?\]|by \(.*?\)", " ", query)
    return set(re.findall(r"[a-zA-Z_][\w:]*", bare)) - _WORDS


def named_labels(query: str) -> set[str]:
    in_braces = [name for braces in re.findall(r"\{(.*?)\}", query) for name in re.findall(r"(\w+)\s*(?:=|!)", braces)]
    grouped = [name.strip() for names in re.findall(r"by \((.*?)\)", query) for name in names.split(",")]
    return {*in_braces, *grouped} - {"le", "alertstate"}


def write_rules(path: Path, *, hold: str = "") -> Path:
    """Write the rules as Prometheus reads them, without annotations. Alerts wait for `hold` instead of their time."""
    groups = json.loads(json.dumps(RULES["groups"]))
    for rule in (rule for group in groups for rule in group["rules"]):
        rule.pop("annotations", None)
        if hold and "alert" in rule:
            rule["for"] = hold
    path.write_text(yaml.safe_dump({"groups": groups}))
    return path
