"""Check pods against Kubernetes' Pod Security Standard "restricted", in the order of the standard."""

from collections.abc import Iterator
from typing import Any

VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
PROFILES = ("RuntimeDefault", "Localhost")


def violations(pod: dict[str, Any]) -> list[str]:
    return [*_of_the_pod(pod), *(each for container in _containers(pod) for each in _of(container, pod))]


def _containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    kinds = ("initContainers", "containers", "ephemeralContainers")
    return [container for kind in kinds for container in pod.get(kind, [])]


def _of_the_pod(pod: dict[str, Any]) -> Iterator[str]:
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(name):
            yield name
    for volume in pod.get("volumes", []):
        yield from (f"volume {kind}" for kind in volume.keys() - VOLUMES - {"name"})
    context = pod.get("securityContext", {})
    for name in ("sysctls", "windowsOptions", "seLinuxOptions", "appArmorProfile"):
        if context.get(name):  # the standard allows some values, but none is needed here
            yield name
    if context.get("runAsUser") == 0:
        yield "runs as root"


def _of(container: dict[str, Any], pod: dict[str, Any]) -> Iterator[str]:
    own, inherited = container.get("securityContext", {}), pod.get("securityContext", {})
    capabilities = own.get("capabilities", {})
    checks = {
        "privileged": own.get("privileged", False),
        "procMount": own.get("procMount", "Default") != "Default",
        "privilege escalation": own.get("allowPrivilegeEscalation", True),
        "keeps capabilities": "ALL" not in capabilities.get("drop", []),
        "adds capabilities": set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"},
        "may run as root": not own.get("runAsNonRoot", inherited.get("runAsNonRoot", False)),
        "runs as root": own.get("runAsUser") == 0,
        "no seccomp profile": own.get("seccompProfile", inherited.get("seccompProfile", {})).get("type")
        not in PROFILES,
        "host ports": any(port.get("hostPort") for port in container.get("ports", [])),
        "probes or hooks with a host": any(_has_host(container.get(name)) for name in _PROBES),
    }
    yield from (name for name, violated in checks.items() if violated)


_PROBES = ("livenessProbe", "readinessProbe", "startupProbe", "lifecycle")


def _has_host(part: Any) -> bool:
    if isinstance(part, dict):
        return "host" in part or any(map(_has_host, part.values()))
    return False
