"""Needs and costs of a rollout in a cluster: the guide's sizes are those of the manifests."""

import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml
from deploy.cluster import OVERLAYS, Object, build, combine, of_kind, overlay, services
from service import ROOT

GUIDE = (ROOT / "docs/deploy.md").read_text()
QUEUE_PROXY_CORES = 0.025
"""Knative's default request for the container that it adds to each pod."""


def cores(quantity: str) -> float:
    return int(quantity[:-1]) / 1000 if quantity.endswith("m") else float(quantity)


def gibibytes(quantity: str) -> float:
    return int(quantity[:-2]) / (1024 if quantity.endswith("Mi") else 1)


def requests_of(objects: list[Object], pods: str) -> tuple[int, float, float]:
    """Return how many pods, cores and GiB all functions together have with this number of pods."""
    count, processor, memory = 0, 0.0, 0.0
    for service in services(objects).values():
        template = service["spec"]["template"]
        annotations = template["metadata"]["annotations"]
        # A new Revision starts one pod, whatever its smallest number.
        initial = int(annotations.get("autoscaling.knative.dev/initial-scale", "1"))
        here = max(initial, int(annotations[f"autoscaling.knative.dev/{pods}"]))
        resources = template["spec"]["containers"][0]["resources"]["requests"]
        count += here
        processor += here * (cores(resources["cpu"]) + QUEUE_PROXY_CORES)
        memory += here * gibibytes(resources["memory"])
    return count, processor, memory


def defaulted(objects: list[Object]) -> list[Object]:
    """Give Services without a smallest number of pods Knative's own, which is none."""
    for service in services(objects).values():
        service["spec"]["template"]["metadata"]["annotations"].setdefault("autoscaling.knative.dev/min-scale", "0")
    return objects


@pytest.mark.parametrize(("pods", "sentence"), [("min-scale", "A rollout"), ("max-scale", "At its largest scale")])
def test_the_guide_says_what_a_rollout_and_the_largest_scale_request(pods: str, sentence: str) -> None:
    written = re.search(rf"{sentence}\D+?(\d+)\s+pods,\s+([\d.]+)\s+cores\s+and\s+([\d.]+)\s+GiB", GUIDE)
    assert written, sentence

    count, processor, memory = requests_of(defaulted(overlay("production")), pods)
    assert written.groups() == (str(count), f"{processor:.1f}", f"{memory:.1f}")


def add(folder: Path, component: str) -> list[Object]:
    """Build the sample overlay with one more component."""
    k8s = Path("../" * len(folder.parts[1:])) / (ROOT / "infra/k8s").relative_to("/")
    content = {"resources": [f"{k8s / 'overlays/production'}"], "components": [f"{k8s / 'components' / component}"]}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(content))
    return defaulted(build(folder))


def test_functions_that_few_call_can_be_left_out_of_a_rollout(tmp_path: Path) -> None:
    written = re.search(
        r"`initial-scale-zero` a rollout starts (\d+)\s+pods,\s+([\d.]+)\s+cores\s+and\s+([\d.]+)", GUIDE
    )
    assert written

    count, processor, memory = requests_of(add(tmp_path, "initial-scale-zero"), "min-scale")
    assert written.groups() == (str(count), f"{processor:.1f}", f"{memory:.1f}")
    [zero] = re.findall(
        r'allow-zero-initial-scale: "(\w+)"', (ROOT / "infra/k8s/prerequisites/kustomization.yaml").read_text()
    )
    assert zero == "true"


def test_what_visitors_wait_for_can_be_kept_warm(tmp_path: Path) -> None:
    found = services(add(tmp_path, "warm"))
    annotations = {name: each["spec"]["template"]["metadata"]["annotations"] for name, each in found.items()}
    kept = {name for name, each in annotations.items() if each["autoscaling.knative.dev/min-scale"] != "0"}
    stays = {
        name
        for name, each in annotations.items()
        if each.get("autoscaling.knative.dev/scale-to-zero-pod-retention-period") == "15m"
    }

    assert kept == {"serve-gallery", "list-images", "get-image", "deliver-image", "upload-image"}
    components = {name: each["metadata"]["labels"]["app.kubernetes.io/component"] for name, each in found.items()}
    assert stays >= {name for name, component in components.items() if component in ("api", "delivery")} - {
        "upload-image"
    }


def test_the_quota_allows_the_largest_scale_beside_a_rollout() -> None:
    production = defaulted(overlay("production"))
    [quota] = of_kind(production, "ResourceQuota").values()
    most, rollout = requests_of(production, "max-scale"), requests_of(production, "min-scale")

    assert most[0] + rollout[0] <= int(quota["spec"]["hard"]["pods"])
    assert most[1] + rollout[1] <= float(quota["spec"]["hard"]["requests.cpu"])


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_new_revision_takes_over_little_by_little(name: str) -> None:
    for service in services(overlay(name)).values():
        assert service["metadata"]["annotations"]["serving.knative.dev/rollout-duration"] == "120s"


def test_postgresql_has_memory_for_all_its_connections() -> None:
    [postgres] = of_kind(overlay("local"), "StatefulSet", "apps/")["postgres"]["spec"]["template"]["spec"]["containers"]
    [most] = [int(each.partition("=")[2]) for each in postgres["args"] if each.startswith("max_connections=")]
    shared = 0.25 + 0.125  # /dev/shm of the pod, which counts, and shared_buffers

    assert most * 2 / 1024 + shared <= gibibytes(postgres["resources"]["limits"]["memory"])


# The Gateway


def test_the_gateway_is_in_a_namespace_that_lets_its_proxies_start_and_takes_our_routes_only(tmp_path: Path) -> None:
    """Istio runs them beside the Gateway, with no seccomp profile, and they ask its control plane for their routes."""
    objects = combine(tmp_path, ("gateway-api",))
    [gateway] = of_kind(objects, "Gateway").values()
    namespace = of_kind(objects, "Namespace")[gateway["metadata"]["namespace"]]

    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "baseline"
    assert namespace["metadata"]["name"] not in {
        each["metadata"]["namespace"] for each in of_kind(objects, "NetworkPolicy").values()
    }
    for route in of_kind(objects, "HTTPRoute").values():
        [parent] = route["spec"]["parentRefs"]
        assert parent == {"name": gateway["metadata"]["name"], "namespace": namespace["metadata"]["name"]}
        for listener in gateway["spec"]["listeners"]:
            allowed = listener["allowedRoutes"]["namespaces"]
            assert allowed["selector"] == {
                "matchLabels": {"kubernetes.io/metadata.name": route["metadata"]["namespace"]}
            }


def test_the_internal_gateway_can_be_closed_to_other_applications(tmp_path: Path) -> None:
    objects = combine(tmp_path, ("gateway-api", "internal-callers"))
    policy = of_kind(objects, "NetworkPolicy")["internal-callers"]
    [internal] = [each for each in policy["spec"]["ingress"] if "from" in each]

    [source] = internal["from"]
    allowed = {*source["namespaceSelector"]["matchExpressions"][0]["values"]}
    ours = {each["metadata"]["name"] for each in of_kind(objects, "Namespace").values()}
    assert allowed == ours | {"knative-serving", "knative-eventing"}


def test_names_can_be_resolved_where_dns_is_elsewhere() -> None:
    policy = of_kind(overlay("production"), "NetworkPolicy")["no-further-than-here"]
    [rule] = [each for each in policy["spec"]["egress"] if "ports" in each]

    namespaces = rule["to"][0]["namespaceSelector"]["matchExpressions"][0]["values"]
    assert {*namespaces} == {"kube-system", "openshift-dns"}
    assert {"ipBlock": {"cidr": "169.254.20.10/32"}} in rule["to"]  # NodeLocal DNSCache
    assert {each["port"] for each in rule["ports"]} == {53, 5353}


# Accounts and secrets


def test_each_set_of_rights_has_an_account_of_its_own() -> None:
    """A cloud grants its roles to accounts: one for all would undo what separate Secrets divide."""
    production = overlay("production")
    for thing in [*services(production).values(), *of_kind(production, "Job").values()]:
        specification = thing["spec"]["template"]["spec"]
        [secret] = [each["secret"]["secretName"] for each in specification["volumes"] if "secret" in each]
        assert specification["serviceAccountName"] == secret, thing["metadata"]["name"]
    accounts = of_kind(production, "ServiceAccount")
    assert accounts.keys() == {"api", "delivery", "worker", "reconciler", "reporter", "bootstrap"}
    assert not any(each["automountServiceAccountToken"] for each in accounts.values())


# Compose


@contextmanager
def answering(status: int) -> Iterator[int]:
    """Answer probes with a status, on the port that is returned."""

    class Probed(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/_/ready"
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Write nothing."""

    server = HTTPServer(("127.0.0.1", 0), Probed)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (204, True), (503, False)])
def test_composes_probe_reads_the_status_without_starting_python(status: int, *, healthy: bool) -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    kind, *command = compose["x-functions"]["healthcheck"]["test"]
    assert (kind, command[0]) == ("CMD", "bash")

    with answering(status) as port:
        probe = [each.replace("$$", "$").replace("/8080", f"/{port}") for each in command]
        assert (subprocess.run(probe, check=False, timeout=10).returncode == 0) == healthy


def test_skaffold_names_only_profiles_that_it_has() -> None:
    text = (ROOT / "skaffold.yaml").read_text()
    profiles = {each["name"] for each in yaml.safe_load(text).get("profiles", [])}

    assert {*re.findall(r"--profile (\S+)", text)} <= profiles


def test_every_command_of_skaffold_in_the_documents_has_a_repository() -> None:
    for document in ("README.md", "docs/deploy.md", "skaffold.yaml"):
        for command in re.findall(r"skaffold (?:run|dev|build) [^\n`]*", (ROOT / document).read_text()):
            assert "--default-repo" in command, f"{document}: {command}"


# GitOps


@pytest.mark.parametrize("name", OVERLAYS)
def test_gitops_runs_every_job_anew_before_the_functions_and_these_before_their_events(name: str) -> None:
    waves: dict[str, set[int]] = {}
    for thing in overlay(name):
        annotations = thing["metadata"].get("annotations", {})
        kind = f"{thing['apiVersion'].split('/')[0]}/{thing['kind']}"
        waves.setdefault(kind, set()).add(int(annotations.get("argocd.argoproj.io/sync-wave", 0)))
        if thing["kind"] == "Job":
            assert annotations["argocd.argoproj.io/hook-delete-policy"] == "BeforeHookCreation"
            assert annotations["kustomize.toolkit.fluxcd.io/force"] == "Enabled"

    later = {"batch/Job": 1, "serving.knative.dev/Service": 2} | dict.fromkeys(
        ("sources.knative.dev/KafkaSource", "sources.knative.dev/PingSource"), 3
    )
    assert waves == {kind: {later.get(kind, 0)} for kind in waves}


def test_one_number_makes_every_function_read_changed_secrets() -> None:
    revisions = {
        each["spec"]["template"]["metadata"]["annotations"].get("image-processing/secrets-revision")
        for each in services(overlay("production")).values()
    }

    assert revisions == {"1"}


@pytest.mark.parametrize("name", OVERLAYS)
def test_one_command_of_the_guide_deletes_every_job_before_an_upgrade(name: str) -> None:
    [label, value] = re.findall(r"delete job -l (\S+)=(\S+)", GUIDE)[0]

    assert all(each["metadata"]["labels"][label] == value for each in of_kind(overlay(name), "Job").values())
