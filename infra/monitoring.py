"""Write what Prometheus under Compose reads: the cluster's rules without the operator's wrapping, and all targets."""

from pathlib import Path

import yaml

from infra.functions import ROOT

RULES = ROOT / "infra/k8s/components/monitoring/rules.yaml"
FOLDER = ROOT / "infra/compose/monitoring"
FUNCTIONS = ("functions", "processor", "reconciler", "report-state")
"""Services of Compose that run functions."""
HEADER = "# Written by `make contracts`. Do not edit.\n"


def generate() -> dict[Path, str]:
    groups = yaml.safe_load(RULES.read_text())["spec"]["groups"]
    counted = [f"{name}:8080" for name in FUNCTIONS]
    scrapes = [
        {"job_name": "functions", "metrics_path": "/_/metrics", "static_configs": [{"targets": counted}]},
        {"job_name": "state", "metrics_path": "/metrics", "static_configs": [{"targets": ["report-state:8080"]}]},
    ]
    prometheus = {
        "global": {"scrape_interval": "30s", "evaluation_interval": "30s"},
        "rule_files": ["rules.yml"],
        "scrape_configs": scrapes,
    }
    return {FOLDER / "rules.yml": _write({"groups": groups}), FOLDER / "prometheus.yml": _write(prometheus)}


def _write(content: object) -> str:
    return HEADER + yaml.safe_dump(content, sort_keys=False, width=120)
