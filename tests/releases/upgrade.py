"""Upgrade the service from a commit to this tree under load, and roll it back: `make check-upgrade from=<commit>`.

PostgreSQL, the store and the broker run apart, as in a cluster. Each release is a `make run` of its own on them. Where
one takes over, both run, and nginx sends new requests to it, as Knative does with Revisions. Clients upload, request
renditions, read and delete all the while. At last everything is audited, as by `make chaos`.
"""

import argparse
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import requests
from chaos.load import Load, Photos
from chaos.matrix import SETTINGS
from releases.trees import check_out, replace_schema
from service import ROOT, Api, Platform, find_free_port, start_platform_of, wait_for

from benchmarks.audit import Audit
from infra.local import machine
from infra.local.notifications import Receiver
from infra.local.processes import Supervisor
from infra.local.seaweedfs import Webhook
from infra.local.settings import Settings

RATE = 4  # uploads a second, each with its reads
PHASE_SECONDS = 25
LEAVE_SECONDS = 5  # for requests in flight, before a release that gets no more is stopped
SETTLE_SECONDS = 300
MOST_FAILED = 0.001
NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
events {{}}
http {{
    access_log off; client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    server {{
        listen 127.0.0.1:{port}; keepalive_timeout 0; client_max_body_size 0;
        location / {{ proxy_pass {target}; proxy_set_header Host $http_host; }}
    }}
}}
"""


class Traffic:
    """An nginx that sends requests to one release at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = find_free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://127.0.0.1:{self._port}"

    def move(self, platform: Platform) -> None:
        configuration = self._folder / "nginx.conf"
        configuration.write_text(NGINX.format(folder=self._folder, port=self._port, target=platform.url))
        if self._process:
            self._process.send_signal(signal.SIGHUP)
        else:
            nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin") or "nginx"
            self._process = subprocess.Popen([nginx, "-e", "stderr", "-c", f"{configuration}"])
            wait_for(self._responds, bool)

    def _responds(self) -> bool:
        try:
            return requests.get(f"{self.url}/api/health", timeout=10).ok
        except requests.RequestException:
            return False

    def close(self) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait(timeout=10)


class Reader:
    """A client that looks at what was uploaded last."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._stopped = threading.Event()
        self.responses: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        with requests.Session() as session:
            api = Api(f"{self._url}/api/v1", session)
            while not self._stopped.wait(1 / RATE):
                for image in self._read(api, "/images?limit=3", []):
                    for path in ("", "/renditions/thumbnail", "/original"):
                        self._read(api, f"/images/{image['uuid']}{path}", None)

    def _read(self, api: Api, path: str, otherwise: list[dict[str, str]] | None) -> list[dict[str, str]]:
        try:
            response = api("GET", path)
        except requests.RequestException:
            self.responses["GET unknown"] += 1
            return otherwise or []
        self.responses[f"GET {response.status_code}"] += 1
        return response.json() if response.ok and otherwise is not None else []


class Clients:
    """The load, and how many of its requests failed in each phase."""

    def __init__(self, url: str) -> None:
        self.load = Load(url, Photos(640, 480), name=f"upgrade-{time.monotonic_ns()}", rate=RATE)
        self._reader = Reader(url)
        self._seen: Counter[str] = Counter()
        self.requests = self.failed = 0
        print(f"{'phase':<44}{'requests':>10}{'5xx':>6}{'unknown':>9}", flush=True)

    def end_phase(self, name: str) -> None:
        now = self.load.responses + self._reader.responses
        new = Counter({key: count for key, count in (now - self._seen).items() if not key.startswith("PUT")})
        self._seen = now
        failed = sum(count for key, count in new.items() if key.split()[1].startswith("5"))
        unknown = sum(count for key, count in new.items() if key.endswith("unknown"))
        self.requests += new.total()
        self.failed += failed + unknown
        print(f"{name:<44}{new.total():>10}{failed:>6}{unknown:>9}", flush=True)

    def stop(self) -> None:
        self.load.stop()
        self._reader.stop()


@contextmanager
def run_services(data: Path) -> Iterator[dict[str, str]]:
    """Run PostgreSQL, a store and a broker. Yield the variables by which a release finds them."""
    settings = Settings.from_environment().model_copy(update={"data_dir": data, "port": find_free_port()})
    webhook = Webhook(find_free_port(), secrets.token_urlsafe())
    with (data / "lock").open("a+") as lock:
        supervisor = Supervisor(lock)
        try:
            environ = machine.start_services(settings, supervisor, webhook)
            receiver = Receiver(webhook.port, environ["KAFKA_BOOTSTRAP_SERVERS"], webhook.token)
            threading.Thread(target=receiver.serve_forever, daemon=True).start()
            yield environ
            receiver.server_close()
        finally:
            supervisor.stop()


def leave(platform: Platform) -> None:
    """Stop a release that gets no more requests."""
    time.sleep(LEAVE_SECONDS)
    platform.stop()


def knows_newer_tables(tree: Path) -> bool:
    return "database_is_newer" in (tree / "shared_lib/commands/bootstrap.py").read_text()


def upgrade_and_back(commit: str, folder: Path) -> int:
    """Return the exit code."""
    services = folder / "services"
    services.mkdir()
    with check_out(commit) as tree, run_services(services) as environ, closing(Traffic(folder)) as traffic:
        settings = {**environ, **SETTINGS, "HTTP_PUBLIC_BASE_URL": traffic.url}
        old = start_platform_of(tree, folder / "old", settings)
        traffic.move(old)
        clients = Clients(traffic.url)
        running = [old]
        try:
            time.sleep(PHASE_SECONDS)
            clients.end_phase(f"{commit} alone")
            running.append(new := start_platform_of(ROOT, folder / "new", settings))
            clients.end_phase("this release starts, with its bootstrap")
            traffic.move(new)
            time.sleep(PHASE_SECONDS)
            clients.end_phase("both, requests to this release")
            leave(running.pop(0))
            time.sleep(PHASE_SECONDS)
            clients.end_phase(f"{commit} stops, this release alone")
            if not knows_newer_tables(tree):
                replace_schema(
                    tree
                )  # its bootstrap fails on newer tables; in a cluster, its functions start all the same
            running.append(old := start_platform_of(tree, folder / "old", settings))
            traffic.move(old)
            time.sleep(PHASE_SECONDS)
            clients.end_phase(f"rolled back: both, requests to {commit}")
            leave(running.pop(0))
            time.sleep(PHASE_SECONDS)
            clients.stop()
            clients.end_phase(f"this release stops, {commit} alone")
            return judge(clients, Audit(folder / "old"))
        finally:
            for each in running:
                each.stop()


def judge(clients: Clients, audit: Audit) -> int:
    history = clients.load.history
    deadline = time.monotonic() + SETTLE_SECONDS
    while audit.find_unsettled(history) and time.monotonic() < deadline:
        time.sleep(1)
    verdict = audit.judge(history)
    share = clients.failed / clients.requests
    print(f"\n{clients.failed} of {clients.requests} requests failed: {share:.3%}")
    print(f"{len(clients.load.accepted)} of {len(history)} uploads were accepted")
    print(", ".join(f"{name}: {len(found)}" for name, found in vars(verdict).items()))
    print(*verdict.faults, sep="\n")
    return 1 if verdict.faults or share > MOST_FAILED else 0


def main(commit: str) -> int:
    folder = Path(tempfile.mkdtemp(prefix="upgrade-"))
    folder.chmod(0o755)  # PostgreSQL's user needs access
    code = upgrade_and_back(commit, folder)
    if code:
        print(f"Data and logs are in {folder}")
    else:
        shutil.rmtree(folder)
    return code


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m releases.upgrade", description=__doc__)
    parser.add_argument("commit", help="the release that runs so far")
    sys.exit(main(parser.parse_args().commit))
