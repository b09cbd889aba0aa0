"""Write the schemas beside this file from the Go modules that publish them. Needs Go."""

import argparse
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
KNATIVE = "knative.dev/operator@v0.50.0"  # contains every release of Knative as published
PROMETHEUS_OPERATOR = "github.com/prometheus-operator/prometheus-operator@v0.85.0"
GATEWAY_API = "sigs.k8s.io/gateway-api@v1.4.1"
COMPOSE = "github.com/compose-spec/compose-go/v2@v2.16.2"
SKAFFOLD = "github.com/GoogleContainerTools/skaffold/v2@v2.24.0"
RELEASES = {
    KNATIVE: (
        "cmd/operator/kodata/knative-serving/1.23.0/1-serving-crds.yaml",
        "cmd/operator/kodata/knative-eventing/1.23.0/1-eventing-crds.yaml",
        "cmd/operator/kodata/eventing-source/1.23/kafka/eventing-kafka-controller.yaml",
    ),
    GATEWAY_API: (
        "config/crd/standard/gateway.networking.k8s.io_gateways.yaml",
        "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml",
        "config/crd/standard/gateway.networking.k8s.io_referencegrants.yaml",
    ),
    PROMETHEUS_OPERATOR: (
        "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml",
        "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
    ),
}
USED = {
    ("PodMonitor", "monitoring.coreos.com/v1"),
    ("PrometheusRule", "monitoring.coreos.com/v1"),
    ("Service", "serving.knative.dev/v1"),
    ("KafkaSource", "sources.knative.dev/v1"),
    ("PingSource", "sources.knative.dev/v1"),
    ("Gateway", "gateway.networking.k8s.io/v1"),
    ("HTTPRoute", "gateway.networking.k8s.io/v1"),
    ("ReferenceGrant", "gateway.networking.k8s.io/v1beta1"),
}
FILES = {
    (COMPOSE, "schema/compose-spec.json"): "compose.json",
    (SKAFFOLD, "docs-v2/content/en/schemas/v4beta13.json"): "skaffold-v4beta13.json",
}
REMOVED = {"description", "x-intellij-html-description", "x-kubernetes-validations", "examples"}


def fetch(module: str) -> Path:
    result = subprocess.run(["go", "mod", "download", "-json", module], check=True, capture_output=True)
    return Path(json.loads(result.stdout)["Dir"])


def definitions(text: str) -> Iterator[tuple[str, str, Any]]:
    """Yield the kind, API version and schema of each resource that a release defines."""
    for part in re.split(r"^---.*$", text, flags=re.MULTILINE):
        if "kind: CustomResourceDefinition" not in part:
            continue
        spec = yaml.safe_load(part)["spec"]
        for version in spec["versions"]:
            yield spec["names"]["kind"], f"{spec['group']}/{version['name']}", version["schema"]["openAPIV3Schema"]


def strip(schema: Any) -> Any:
    """Remove prose from a schema. Keep properties that are called `description`: those are not strings."""
    if isinstance(schema, list):
        return [strip(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: strip(value)
        for key, value in schema.items()
        if not ((key in REMOVED and isinstance(value, str | list)) or key == "x-kubernetes-validations")
    }


def write(name: str, schema: object) -> None:
    (HERE / name).write_text(json.dumps(schema, indent=1, sort_keys=True) + "\n")


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    for module, paths in RELEASES.items():
        folder = fetch(module)
        for path in paths:
            for kind, version, schema in definitions((folder / path).read_text()):
                if (kind, version) in USED:
                    write(f"{kind}_{version.replace('/', '_')}.json".lower(), strip(schema))
    for (module, path), name in FILES.items():
        write(name, strip(json.loads((fetch(module) / path).read_text())))


if __name__ == "__main__":
    main()
