"""Run nginx in front of the gateway, with the configuration of a cluster's edge. It caches renditions."""

import os
import re
import shutil
import signal
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from infra.local import ports
from infra.local.manifests import ROOT
from infra.local.processes import Program, Tier
from infra.local.settings import CannotStart, Settings

EDGE = ROOT / "infra/k8s/components/nginx-edge"
RENDITIONS = "renditions"
"""The cache's folder, in that of nginx."""
PURGES = "/purges"
"""The path of the process of the functions that take events at which it purges caches at once."""

# The gateway checks hosts, and limits bodies and what waits.
_CHANGES = {
    # What another host was refused, it must not get from the cache.
    'proxy_cache_key "': 'proxy_cache_key "$http_host ',
    "max_size=2g": "max_size=256m",
    r"set_real_ip_from \S+;": "",  # there is no proxy in front
    r"limit_conn \w+_of_client \d+;": "",  # on one machine, all clients have one address
    "error_log /dev/stderr;": "error_log stderr alert;",
    "error_log /dev/stderr emerg": "error_log stderr emerg",
    "access_log /dev/stderr unanswered": "access_log off",  # the gateway says why
    "client_max_body_size 11m": "client_max_body_size 0",
    "proxy_request_buffering on": "proxy_request_buffering off",
}


def find_nginx(path: str) -> str:
    """Return nginx's path. Debian installs it in a directory that is only on root's PATH."""
    found = shutil.which("nginx", path=f"{path}:/usr/sbin:/usr/local/sbin")
    if not found:
        raise CannotStart(
            "EDGE_CACHE needs nginx: install it (Debian: sudo apt install nginx-light, macOS: brew install nginx), or "
            "leave EDGE_CACHE unset."
        )
    return found


def make_program(settings: Settings, gateway_port: int, token: str, log: Path) -> Program:
    """Return nginx on the API's port. It tells the gateway the client's address, and the token with it."""
    nginx, folder = find_nginx(settings.inherited.get("PATH", "")), find_folder(settings)
    folder.mkdir(mode=0o700, exist_ok=True)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    backend = (
        f"proxy_pass http://{ports.LOOPBACK}:{gateway_port}$request_uri;\n"
        "proxy_set_header Host $http_host;\n"
        'proxy_set_header Connection "";\n'
        f'proxy_set_header X-Edge "{token} $remote_addr $server_addr";\n'
    )
    return Program(
        name="nginx",
        tier=Tier.EDGE,
        argv=[
            nginx,
            *configure(folder, f"{host}:{settings.port}", backend, (EDGE / "hosts.conf").read_text(), _CHANGES),
        ],
        environ={},
        is_ready=lambda _pid: ports.responds_to_http(settings.port, settings.host, "/_/ready"),
        find_fault=partial(ports.find_fault, settings.port, settings.host, "/_/ready"),
        stop_signal=signal.SIGQUIT,  # which lets requests finish
        log=log,
    )


def find_folder(settings: Settings) -> Path:
    return settings.data_dir / "nginx"


def configure(folder: Path, listen: str, backend: str, hosts: str, changes: Mapping[str, str]) -> list[str]:
    """Write the edge's configuration with these changes to a folder. Return the options that run nginx there.

    Changes are regular expressions and their replacements. Beside them, the address, paths and the number of processes
    are changed.
    """
    (folder / "backend.conf").write_text(backend)
    (folder / "hosts.conf").write_text(hosts)
    shutil.copy(EDGE / "functions.conf", folder)
    always = {
        "worker_processes 2": "worker_processes 1",
        "listen 8080": f"listen {listen}",
        "/tmp/": "",  # noqa: S108  paths are relative to the folder
    }
    (folder / "nginx.conf").write_text(change((EDGE / "nginx.conf").read_text(), {**always, **changes}))
    user = " user root;" if os.getuid() == 0 else ""  # nginx would drop root, and could not write here
    return ["-p", f"{folder}/", "-e", "stderr", "-c", "nginx.conf", "-g", f"daemon off;{user}"]


def change(text: str, changes: Mapping[str, str]) -> str:
    """Replace regular expressions in a configuration, each of which must be there."""
    for expression, replacement in changes.items():
        text, count = re.subn(expression, replacement, text)
        if not count:
            raise AssertionError(f"no {expression} in the edge's configuration")
    return text
