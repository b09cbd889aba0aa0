"""Read an installation with kubectl: find problems, settings and addresses."""

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from deploy.cluster import FUNCTIONS, KUBECTL
from service import wait_for

NAMESPACE = "image-processing"
DEFINITIONS = {
    "services.serving.knative.dev": "Knative Serving",
    "pingsources.sources.knative.dev": "Knative Eventing",
    "kafkasources.sources.knative.dev": "the KafkaSource of Knative Eventing",
}
READY = {
    "ksvc": {name.replace("_", "-") for name in FUNCTIONS},
    "kafkasource": {"image-work"},
    "pingsource": {"reconcile-every-minute", "reconcile-everything-nightly"},
}


class Unreachable(Exception):
    """kubectl failed. The message is its error output."""


@dataclass(frozen=True)
class Installation:
    """An installation in a cluster. Nothing here changes the cluster."""

    context: str

    def kubectl(self, *arguments: str, seconds: float = 60) -> str:
        command = self._command("--request-timeout=30s", *arguments)
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds)
        if done.returncode:
            raise Unreachable(done.stderr.strip() or done.stdout.strip())
        return done.stdout

    def get(self, kind: str, *arguments: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = json.loads(self.kubectl("get", kind, *arguments, "--output=json"))["items"]
        return items

    def own(self, kind: str, *arguments: str) -> dict[str, dict[str, Any]]:
        """Return objects in the installation's namespace, by name."""
        return {each["metadata"]["name"]: each for each in self.get(kind, f"--namespace={NAMESPACE}", *arguments)}

    def find_problems(self) -> list[str]:
        """Return everything that is missing or not ready, as sentences. Stop where one problem causes all others."""
        installed = {each["metadata"]["name"] for each in self.get("customresourcedefinitions")}
        missing = [
            f"{what} is not installed: no {name}." for name, what in DEFINITIONS.items() if name not in installed
        ]
        if missing:
            return [*missing, "infra/k8s/prerequisites installs all of these. Its first lines say how."]
        if not [each for each in self.get("namespaces") if each["metadata"]["name"] == NAMESPACE]:
            return [f"The namespace {NAMESPACE} does not exist: nothing is installed in this cluster."]
        return [*self._bootstrap_failures(), *(line for kind in READY for line in self._not_ready(kind))]

    def _bootstrap_failures(self) -> list[str]:
        job = self.own("job").get("bootstrap", {"status": {"succeeded": 1}})  # deleted an hour after its success
        if job.get("status", {}).get("succeeded"):
            return []
        return [f"The job bootstrap has not succeeded: kubectl --namespace {NAMESPACE} logs job/bootstrap"]

    def _not_ready(self, kind: str) -> list[str]:
        found = self.own(kind)
        lines = [f"{kind} {name} does not exist." for name in sorted(READY[kind] - found.keys())]
        for name in sorted(READY[kind] & found.keys()):
            conditions = {each["type"]: each for each in found[name].get("status", {}).get("conditions", [])}
            ready = conditions.get("Ready", {"status": "Unknown"})
            if ready["status"] != "True":
                why = f"{ready.get('reason', 'no controller has set a condition')}. {ready.get('message', '')}".strip()
                lines.append(f"{kind} {name} is not ready: {why}")
        return lines

    def setting(self, name: str) -> str:
        """Return a setting of the current functions, or an empty string if it is not set."""
        [container] = self.own("ksvc")["get-health"]["spec"]["template"]["spec"]["containers"]
        maps = self.own("configmap")  # including those of earlier releases
        named = [each["configMapRef"]["name"] for each in container["envFrom"] if "configMapRef" in each]
        return next((f"{maps[each]['data'][name]}" for each in named if name in maps[each]["data"]), "")

    def pods_of(self, function: str) -> dict[str, dict[str, Any]]:
        return self.own("pods", f"--selector=serving.knative.dev/service={function}")

    def run_python(self, function: str, code: str) -> str:
        """Run code in a pod of a function, and return its output. Wait for a pod first."""
        pods = wait_for(lambda: self._running(function), bool, 150)
        target = [f"--namespace={NAMESPACE}", pods[0], "--container=user-container"]
        return self.kubectl("exec", *target, "--", "python", "-c", code, seconds=150)

    def _running(self, function: str) -> list[str]:
        pods = self.pods_of(function).items()
        return [name for name, each in pods if each["status"]["phase"] == "Running" and not _is_ending(each)]

    @contextmanager
    def forward(self, service: str, port: int, local: int) -> Iterator[None]:
        """Forward a port of this machine to a Service during the block."""
        target = [f"--namespace={NAMESPACE}", f"service/{service}", f"{local}:{port}"]
        with subprocess.Popen(self._command("port-forward", *target), stdout=subprocess.DEVNULL) as process:
            deadline = time.monotonic() + 30
            try:
                while not listens(local):
                    if process.poll() is not None or time.monotonic() > deadline:
                        raise Unreachable(f"kubectl found no pod of the Service {service}")
                    time.sleep(0.1)
                yield
            finally:
                process.terminate()

    def _command(self, *arguments: str) -> list[str]:
        return [str(KUBECTL), f"--context={self.context}", *arguments]


def _is_ending(pod: dict[str, Any]) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def is_of_this_machine(url: str) -> bool:
    return urlsplit(url).hostname in {"localhost", "127.0.0.1", None}


def known_contexts() -> str:
    command = [str(KUBECTL), "config", "get-contexts", "--output=name"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return ", ".join(done.stdout.split()) or "none"
