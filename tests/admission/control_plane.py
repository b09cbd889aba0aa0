"""Run the parts of a cluster that validate objects: Kubernetes' API server and Knative's webhooks.

Applied objects do not run: there is no scheduler and no node. The webhooks of the KafkaSource and of Kourier are not
published as Go modules, so their kinds are only checked against schemas.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from service import ROOT, find_free_port, wait_for

KUBECTL = Path(sys.executable).with_name("kubectl")
BUILT = ROOT / ".cache/control-plane"
START_SECONDS = 90.0
WEBHOOKS = {"webhook": "knative-serving", "eventing-webhook": "knative-eventing"}
"""The Services through which the API server calls the webhooks that run here, with their namespaces."""
CONFIGURATIONS = "mutatingwebhookconfigurations,validatingwebhookconfigurations"
APPLY = ("apply", "--server-side", "--force-conflicts")
"""As in docs/deploy.md. Knative's webhooks become the owners of some fields of their configurations."""


@dataclass(frozen=True)
class Cluster:
    """A cluster, used through kubectl."""

    kubeconfig: Path

    def try_kubectl(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        command = [str(KUBECTL), "--kubeconfig", str(self.kubeconfig), *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=120)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        done = self.try_kubectl(*arguments, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def get(self, *arguments: str) -> Any:
        return json.loads(self.kubectl("get", *arguments, "--output=json"))

    def apply(self, *objects: Mapping[str, Any], dry_run: bool = False) -> subprocess.CompletedProcess[str]:
        more = ["--dry-run=server"] if dry_run else []
        return self.try_kubectl(
            "apply", "--validate=strict", *more, "--filename=-", stdin=yaml.safe_dump_all(objects, sort_keys=False)
        )


@contextmanager
def run_control_plane(folder: Path) -> Iterator[Cluster]:
    """Start the control plane and apply infra/k8s/prerequisites. `folder` is for data and logs."""
    with ExitStack() as running:
        etcd = f"http://127.0.0.1:{find_free_port()}"
        _start_etcd(running, folder, etcd)
        cluster = _start_api_server(running, folder, etcd)
        prerequisites = _localize_prerequisites(folder / "prerequisites")
        cluster.try_kubectl(*APPLY, f"--kustomize={prerequisites}")  # fails for kinds that it only defines now
        ports = {name: find_free_port() for name in WEBHOOKS}
        _connect_webhooks(cluster, ports)
        for name in WEBHOOKS:
            _start_webhook(running, folder, cluster, name, ports[name])
        wait_for(lambda: _uncertified(cluster), lambda names: not names, START_SECONDS)
        cluster.kubectl(*APPLY, f"--kustomize={prerequisites}")
        _connect_webhooks(cluster, ports)
        cluster.kubectl(*APPLY, *(f"--filename={path}" for path in BUILT.glob("manifests/gateway.*")))
        yield cluster


def _start_etcd(running: ExitStack, folder: Path, url: str) -> None:
    peers = f"http://127.0.0.1:{find_free_port()}"
    running.enter_context(
        _run(
            folder,
            "etcd",
            f"--data-dir={folder / 'etcd'}",
            f"--listen-client-urls={url}",
            f"--advertise-client-urls={url}",
            f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=default={peers}",
            "--unsafe-no-fsync",
            "--log-level=error",
        )
    )


def _start_api_server(running: ExitStack, folder: Path, etcd: str) -> Cluster:
    port = find_free_port()
    key, tokens, kubeconfig = (folder / name for name in ("accounts.key", "tokens", "kubeconfig"))
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
    tokens.write_text("admin,admin,admin,system:masters\n")
    server = {"server": f"https://127.0.0.1:{port}", "insecure-skip-tls-verify": True}
    kubeconfig.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "admission", "cluster": server}],
                "users": [{"name": "admin", "user": {"token": "admin"}}],
                "contexts": [{"name": "admission", "context": {"cluster": "admission", "user": "admin"}}],
                "current-context": "admission",
            }
        )
    )
    running.enter_context(
        _run(
            folder,
            "kube-apiserver",
            f"--etcd-servers={etcd}",
            "--bind-address=127.0.0.1",
            f"--secure-port={port}",
            f"--cert-dir={folder / 'certificates'}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--authorization-mode=RBAC",
            f"--token-auth-file={tokens}",
            "--endpoint-reconciler-type=none",
        )
    )
    cluster = Cluster(kubeconfig)
    wait_for(lambda: cluster.try_kubectl("get", "--raw=/readyz").returncode, lambda code: code == 0, START_SECONDS)
    return cluster


def _localize_prerequisites(folder: Path) -> Path:
    """Copy infra/k8s/prerequisites, with local files in place of its URLs."""
    shutil.copytree(BUILT / "manifests", folder)
    for path in folder.glob("2-*.yaml"):  # the operator numbers them
        path.rename(folder / path.name.removeprefix("2-"))
    text = (ROOT / "infra/k8s/prerequisites/kustomization.yaml").read_text()
    (folder / "kustomization.yaml").write_text(re.sub(r"- https://\S+/", "- ", text))
    return folder


def _connect_webhooks(cluster: Cluster, ports: Mapping[str, int]) -> None:
    """Let the API server call the webhooks that run here, and no others."""
    for name, namespace in WEBHOOKS.items():
        here = {"spec": {"type": "ExternalName", "externalName": "localhost", "clusterIP": None, "clusterIPs": None}}
        cluster.kubectl("patch", "service", name, f"--namespace={namespace}", f"--patch={json.dumps(here)}")
    for configuration in cluster.get(CONFIGURATIONS)["items"]:
        callees = [each["clientConfig"]["service"]["name"] for each in configuration["webhooks"]]
        if set(callees) <= set(ports):
            changes = [_put(f"/webhooks/{n}/clientConfig/service/port", ports[each]) for n, each in enumerate(callees)]
            _patch(cluster, configuration, changes)
        else:
            cluster.kubectl("delete", configuration["kind"], configuration["metadata"]["name"])
    for definition in cluster.get("customresourcedefinitions")["items"]:
        conversion = definition["spec"]["conversion"]
        if (
            conversion["strategy"] == "Webhook"
            and conversion["webhook"]["clientConfig"]["service"]["name"] not in ports
        ):
            _patch(cluster, definition, [_put("/spec/conversion", {"strategy": "None"})])


def _put(path: str, value: object) -> dict[str, object]:
    return {"op": "add", "path": path, "value": value}


def _patch(cluster: Cluster, thing: Mapping[str, Any], changes: list[dict[str, object]]) -> None:
    name = thing["metadata"]["name"]
    cluster.kubectl("patch", thing["kind"], name, "--type=json", f"--patch={json.dumps(changes)}")


def _start_webhook(running: ExitStack, folder: Path, cluster: Cluster, name: str, port: int) -> None:
    environ = {
        "KUBECONFIG": f"{cluster.kubeconfig}",
        "SYSTEM_NAMESPACE": WEBHOOKS[name],
        "POD_NAME": name,
        "WEBHOOK_NAME": name,
        "WEBHOOK_PORT": f"{port}",
        "PROFILING_PORT": f"{find_free_port()}",
        "CONFIG_LOGGING_NAME": "config-logging",
        "CONFIG_OBSERVABILITY_NAME": "config-observability",
        "METRICS_DOMAIN": "knative.dev",
        "SINK_BINDING_SELECTION_MODE": "exclusion",
    }
    running.enter_context(_run(folder, WEBHOOKS[name].removeprefix("knative-") + "-webhook", environ=environ))


def _uncertified(cluster: Cluster) -> list[str]:
    """Return the webhooks that have not registered their certificates yet."""
    return [
        each["name"]
        for configuration in cluster.get(CONFIGURATIONS)["items"]
        for each in configuration["webhooks"]
        if "caBundle" not in each["clientConfig"]
    ]


@contextmanager
def _run(folder: Path, program: str, *arguments: str, environ: Mapping[str, str] | None = None) -> Iterator[None]:
    with (folder / f"{program}.log").open("wb") as log:
        process = subprocess.Popen(
            [BUILT / program, *arguments],
            cwd=folder,
            env={**os.environ, **(environ or {})},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield
    finally:
        process.kill()  # on SIGTERM, webhooks continue for a while
        process.wait()
