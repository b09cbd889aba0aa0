"""A cluster's admission accepts every overlay and rejects broken objects. Run by `make check-admission`."""

import copy
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from admission.control_plane import Cluster, run_control_plane
from deploy.cluster import COMBINATIONS, OVERLAYS, Object, combine, overlay, pod, put, services, title
from service import ROOT

NAMESPACE = "--namespace=image-processing"
NOT_INSTALLED = ("gateway.envoyproxy.io/", "external-secrets.io/")  # of other projects
PREREQUISITES = ("Namespace", "ServiceAccount")  # must exist before other objects are checked


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with the namespaces, and the service account that a controller would create."""
    with run_control_plane(tmp_path_factory.mktemp("control-plane")) as cluster:
        for name in OVERLAYS:
            assert cluster.apply(*(each for each in overlay(name) if each["kind"] in PREREQUISITES)).returncode == 0
        cluster.kubectl("create", "serviceaccount", "default", NAMESPACE)
        yield cluster


@pytest.fixture(scope="class", params=OVERLAYS)
def installed(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[list[Object]]:
    """Apply an overlay, and return its objects."""
    objects = overlay(request.param)
    done = cluster.apply(*objects)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == len(objects)
    yield objects
    deletable = [each for each in objects if each["kind"] not in PREREQUISITES]
    cluster.kubectl("delete", "--filename=-", stdin=yaml.safe_dump_all(deletable))


def generations(cluster: Cluster, objects: list[Object]) -> dict[str, int | None]:
    live = cluster.kubectl("get", "--filename=-", "--output=yaml", stdin=yaml.safe_dump_all(objects))
    return {title(each): each["metadata"].get("generation") for each in yaml.safe_load(live)["items"]}


def rejection(cluster: Cluster, thing: Object) -> str:
    """Return why the cluster rejects an object, or an empty string if it accepts it."""
    done = cluster.apply(thing, dry_run=True)
    return done.stderr if done.returncode else ""


def test_the_prerequisites_configure_knative_to_use_kourier(cluster: Cluster) -> None:
    network = cluster.get("configmap", "config-network", "--namespace=knative-serving")

    assert network["data"]["ingress-class"] == "kourier.ingress.networking.knative.dev"


class TestAnOverlay:
    def test_applying_an_overlay_again_changes_nothing(self, cluster: Cluster, installed: list[Object]) -> None:
        """A new generation would cause a new Revision or a rollout."""
        before = generations(cluster, installed)

        done = cluster.apply(*installed)

        assert (done.returncode, done.stderr) == (0, "")
        assert generations(cluster, installed) == before

    def test_the_namespace_admits_the_pods(self, cluster: Cluster, installed: list[Object]) -> None:
        """Knative validates the pods of a Service itself, if an annotation requests it."""
        for thing in installed:
            if specification := pod(thing):
                checked = with_dry_run(thing) if title(thing) in KNATIVE else pod_of(thing, specification)
                assert rejection(cluster, checked) == "", title(thing)

    def test_the_next_apply_ends_the_rollback_of_a_function(self, cluster: Cluster, installed: list[Object]) -> None:
        back = '{"spec":{"traffic":[{"revisionName":"get-image-00007","percent":100}]}}'
        cluster.kubectl("patch", "ksvc", "get-image", NAMESPACE, "--type=merge", f"--patch={back}")
        assert cluster.get("ksvc", "get-image", NAMESPACE)["spec"]["traffic"][0]["revisionName"] == "get-image-00007"

        assert cluster.apply(*installed).returncode == 0

        [traffic] = cluster.get("ksvc", "get-image", NAMESPACE)["spec"]["traffic"]
        assert traffic == {"latestRevision": True, "percent": 100}

    def test_the_acceptance_test_names_everything_that_is_not_ready(
        self, cluster: Cluster, installed: list[Object]
    ) -> None:
        """Nothing is ready here: there are no controllers, and nothing runs."""
        environ = {**os.environ, "KUBECONFIG": f"{cluster.kubeconfig}", "CLUSTER_CONTEXT": "admission"}
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/cluster/check_installation.py"]

        done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=100)

        assert done.returncode == 3
        for thing in installed:
            if title(thing) in KNATIVE:
                assert f"ksvc {thing['metadata']['name']} is not ready" in done.stdout
        assert "kafkasource image-work is not ready" in done.stdout

    def test_a_new_release_must_delete_the_jobs_first(self, cluster: Cluster, installed: list[Object]) -> None:
        jobs = [copy.deepcopy(each) for each in installed if each["kind"] == "Job"]
        for job in jobs:
            put(job, "spec.template.spec.containers.0.image", "image-processing/functions:next")
            assert "field is immutable" in rejection(cluster, job)

        cluster.kubectl("delete", "job", "--selector=app.kubernetes.io/part-of=image-processing", NAMESPACE)

        done = cluster.apply(*jobs)
        assert (done.returncode, done.stderr) == (0, "")


KNATIVE = {title(each) for name in OVERLAYS for each in services(overlay(name)).values()}


def with_dry_run(service: Object) -> Object:
    checked = copy.deepcopy(service)
    checked["metadata"]["annotations"] = {"features.knative.dev/podspec-dryrun": "strict"}
    return checked


def pod_of(workload: Object, specification: Object) -> Object:
    """Return the pod that a controller would create, with its volume claims."""
    claims = [each["metadata"]["name"] for each in workload["spec"].get("volumeClaimTemplates", [])]
    volumes = [{"name": claim, "persistentVolumeClaim": {"claimName": claim}} for claim in claims]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "checked", "namespace": "image-processing"},
        "spec": specification | {"volumes": [*specification.get("volumes", []), *volumes]},
    }


@pytest.mark.parametrize("components", COMBINATIONS, ids="+".join)
def test_every_combination_of_components_is_accepted(
    cluster: Cluster, components: tuple[str, ...], tmp_path: Path
) -> None:
    done = cluster.apply(*combine(tmp_path, components), dry_run=True)

    assert (done.returncode, done.stderr) == (0, "")


def test_the_manifests_in_the_guide_are_accepted(cluster: Cluster) -> None:
    blocks = re.findall(r"```yaml\n(apiVersion.+?)```", (ROOT / "docs/deploy.md").read_text(), re.DOTALL)

    objects = [each for block in blocks for each in yaml.safe_load_all(block)]
    checked = [each for each in objects if not each["apiVersion"].startswith(NOT_INSTALLED)]
    assert checked
    for thing in checked:
        assert rejection(cluster, thing) == "", title(thing)


# Broken variants

CONTAINER = "spec.template.spec.containers.0"
SCALE = "spec.template.metadata.annotations"
MATCH = "spec.rules.0.matches.0"


@pytest.mark.parametrize(
    ("name", "path", "value", "reason"),
    [
        # Knative Serving
        ("Service process-image", "spec.template.spec.nonsense", 1, "unknown field"),
        ("Service process-image", "spec.template.spec.containerConcurrency", 1001, "containerConcurrency"),
        ("Service process-image", "spec.template.spec.timeoutSeconds", 601, "timeoutSeconds"),
        ("Service process-image", f"{CONTAINER}.image", "", "image"),
        ("Service process-image", f"{CONTAINER}.image", "image processing", "parse"),
        ("Service process-image", f"{CONTAINER}.env", [{"name": "K_SERVICE", "value": "x"}], "K_SERVICE"),
        ("Service process-image", f"{CONTAINER}.lifecycle", {}, "lifecycle"),
        ("Service process-image", f"{CONTAINER}.volumeMounts.0.name", "nowhere", "volumeMount"),
        ("Service process-image", "spec.template.spec.volumes", [{"name": "tmp", "hostPath": {"path": "/"}}], "host"),
        ("Service process-image", "spec.template.spec.initContainers", [{"name": "x", "image": "x"}], "initC"),
        ("Service process-image", SCALE, {"autoscaling.knative.dev/max-scale": "many"}, "max-scale"),
        ("Service process-image", f"{SCALE}.autoscaling\\.knative\\.dev/min-scale", "200", "min-scale"),
        ("Service process-image", "spec.traffic", [{"latestRevision": True, "percent": 50}], "sum to 50"),
        (
            "Service process-image",
            "spec.traffic",
            [{"latestRevision": True, "revisionName": "process-image-00001", "percent": 100}],
            "latestRevision",
        ),
        # Eventing. Only the schema checks the KafkaSource
        ("PingSource reconcile-every-minute", "spec.schedule", "every minute", "schedule"),
        ("PingSource reconcile-every-minute", "spec.data", "{", "data"),
        ("PingSource reconcile-every-minute", "spec.dataBase64", "e30=", "data"),
        ("PingSource reconcile-every-minute", "spec.delivery", {}, "unknown field"),
        ("PingSource reconcile-every-minute", "spec.sink", {}, "sink"),
        ("KafkaSource image-work", "spec.resources", {}, "unknown field"),
        ("KafkaSource image-work", "spec.consumers", "3", "consumers"),
        ("KafkaSource image-work", "spec.delivery.retry", "6", "retry"),
        # Gateway API, including the rules in its definitions
        ("HTTPRoute api-images", f"{MATCH}.path", {"type": "Exact", "value": "api"}, "absolute path"),
        ("HTTPRoute api-images", f"{MATCH}.path", {"type": "Exact", "value": "/a//b"}, "'//'"),
        ("HTTPRoute api-images", f"{MATCH}.method", "get", "method"),
        ("HTTPRoute api-images", "spec.rules.0.backendRefs.0.port", None, "port"),
        ("HTTPRoute api-images", "spec.rules", [{}] * 17, "16"),
        (
            "HTTPRoute api-images",
            "spec.rules.0.filters",
            [{"type": "URLRewrite", "requestRedirect": {}}],
            "requestRedirect",
        ),
        ("Gateway public", "spec.listeners.0.tls", {"mode": "Terminate"}, "certificateRefs"),
        # Kubernetes
        ("Namespace image-processing", "metadata.labels.pod-security\\.kubernetes\\.io/enforce", "strict", "must be"),
        ("StatefulSet kafka", f"{CONTAINER}.volumeMounts.0.name", "nowhere", "Not found"),
        ("StatefulSet kafka", "spec.selector.matchLabels", {"app": "another"}, "selector"),
        ("Deployment edge", f"{CONTAINER}.resources.requests.memory", "1Gi", "must be less than or equal"),
        ("NetworkPolicy functions", "spec.ingress.0.ports.0.protocol", "HTTP", "protocol"),
        ("PodDisruptionBudget edge", "spec.minAvailable", 1, "cannot be both set"),
        ("Job bootstrap", "spec.template.spec.restartPolicy", "Always", "restartPolicy"),
    ],
)
def test_a_broken_object_is_rejected(cluster: Cluster, name: str, path: str, value: object, reason: str) -> None:
    broken = find(name)
    put(broken, path, value)

    assert reason in rejection(cluster, broken)


@pytest.mark.parametrize(
    "change",
    [
        {"securityContext": {}},
        {"securityContext": {"runAsNonRoot": True, "capabilities": {"drop": ["ALL"]}}},
    ],
)
def test_the_dry_run_rejects_a_function_that_is_not_restricted(cluster: Cluster, change: Any) -> None:
    broken = with_dry_run(find("Service process-image"))
    broken["spec"]["template"]["spec"]["containers"][0] |= change

    assert "violates PodSecurity" in rejection(cluster, broken)


def find(name: str) -> Object:
    found = [each for overlay_name in OVERLAYS for each in overlay(overlay_name) if title(each) == name]
    return copy.deepcopy(found[-1])
