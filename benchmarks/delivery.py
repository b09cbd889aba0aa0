"""Prove what delivery by URL promises under load, on processes of its own.

    python -m benchmarks.delivery flood [--requests 10000]
    python -m benchmarks.delivery coalesce [--requests 200] [--processes 4]
    python -m benchmarks.delivery speed [--seconds 8]

`flood` sends URLs that nobody signed, or that a token doesn't allow, within a minute, beside one client with a signed
URL, and counts renditions. `coalesce` asks several processes for one new rendition at once. `speed` measures requests
per second of new JPEGs of JPEGs and WebPs of WebPs, of stored ones, of those in the cache of the edge component's
nginx, and of a bare `render()`, on photographs of 2040x1356 px that fit into 512x512 px with 4 connections, as in
imgproxy's benchmark: by one process, and by two that decode one image at a time each. thumbor does the same beside it
with two processes, if `make compare-thumbor` has built it: once with its originals in files and without storing what it
makes, and once as we do it, with the originals in the same store and with storing. Apart from that it needs nginx.
"""

import argparse
import base64
import hashlib
import hmac
import http.client
import io
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

import boto3
import requests
from nginx import BACKENDS, Names, run_edge
from PIL import Image

from benchmarks.throughput import PHOTOGRAPHS, PORT, ROOT, serve
from infra.local.manifests import Manifests
from shared_lib.limits import Limits
from shared_lib.pipeline.formats import Format
from shared_lib.pipeline.recipe_schema import read_recipe
from shared_lib.pipeline.render import render

BASE = f"http://127.0.0.1:{PORT}"
KEY = "5e" * 32
THUMBOR = Path(os.environ.get("THUMBOR", ROOT / ".cache/thumbor/bin/thumbor"))
SIZE = (2040, 1356)  # px, as in imgproxy's benchmark


def make_photographs(count: int, form: str = "jpeg") -> list[bytes]:
    made = []
    for number in range(count):
        source = Image.open(PHOTOGRAPHS[number % len(PHOTOGRAPHS)]).convert("RGB")
        with io.BytesIO() as file:
            source.resize(SIZE).rotate(number * 3).save(file, form, quality=88)
            made.append(file.getvalue())
    return made


def upload(photographs: list[bytes], form: str = "jpeg") -> list[str]:
    """Return the uuids once all are processed."""
    uuids = []
    for data in photographs:
        answer = requests.post(f"{BASE}/api/v1/images/actions/upload", files={"file": (f"p.{form}", data)}, timeout=60)
        uuids.append(answer.json()["data"]["uuid"])
    for uuid in uuids:
        while requests.get(f"{BASE}/api/v1/images/{uuid}", timeout=60).json()["status"] != "succeeded":
            time.sleep(0.2)
    return uuids


def make_token(allowed: object) -> str:
    text = base64.urlsafe_b64encode(json.dumps(allowed).encode()).decode().rstrip("=")
    digest = hmac.digest(bytes.fromhex(KEY), text.encode(), "sha256")
    return f"k1.{text}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


@contextmanager
def serve_delivery(data: Path, port: int, **more: str) -> Iterator[str]:
    """Serve `deliver_image` like its container, in a process of its own."""
    [service] = (each for each in Manifests.read(ROOT / "infra/knative").services if each.folder == "deliver_image")
    environ = os.environ | read_environment(data) | service.environ
    environ |= {"HOST": "127.0.0.1", "PORT": f"{port}", "FUNCTION_TARGET": "main"}
    environ |= {"LOG_LEVEL": "error", "FUNCTION_SOURCE": f"{ROOT / 'functions/deliver_image/main.py'}"} | more
    process = subprocess.Popen([sys.executable, "-m", "shared_lib.server"], env=environ, cwd=ROOT)
    try:
        while not _is_ready(port):
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _is_ready(port: int, path: str = "/_/ready") -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}{path}", timeout=2).ok
    except requests.RequestException:
        return False


def flood(data: Path, count: int) -> None:
    [image] = upload(make_photographs(1))
    token = make_token({"image": image, "widths": [320]})
    keyed = {"AUTH_MODE": "required", "DELIVERY_KEYS": f"k1:{KEY}", "RATE_REQUESTS_PER_MINUTE": "0"}
    with serve_delivery(data, PORT + 1, **keyed) as base, ThreadPoolExecutor(16) as pool:
        signed = f"{base}/i/{token}/w=320/{image}.webp"
        assert requests.get(signed, timeout=60).status_code == 200
        alone = sorted(_measure(lambda: requests.get(signed, timeout=60)) for _ in range(200))
        session = threading.local()

        def send(number: int) -> tuple[int, str]:
            rest = (f"unsafe/w={number}", f"k1.AAAA/w={number}", f"{token}/w={number + 321}")[number % 3]
            if not hasattr(session, "client"):
                session.client = requests.Session()
            answer = session.client.get(f"{base}/i/{rest}/{image}.webp", timeout=60)
            return answer.status_code, answer.headers.get("Cache-Status", "")

        began = time.monotonic()

        def send_in_time(number: int) -> tuple[int, str]:
            time.sleep(max(0.0, began + number * 60 / count - time.monotonic()))
            return send(number)

        sent = [pool.submit(send_in_time, number) for number in range(count)]
        beside = []
        while not sent[-1].done():
            beside.append(_measure(lambda: requests.get(signed, timeout=60)))
        seconds = time.monotonic() - began
        answers = Counter(each.result() for each in sent)
    made = sum(number for (_, status), number in answers.items() if status)
    print(f"{count} URLs in {seconds:.0f} s: {dict(answers)}, {made} renditions")
    for name, times in (("alone", alone), ("during the flood", sorted(beside))):
        print(f"a signed hit {name}: p50 {statistics.median(times):.1f} ms, p99 {times[int(len(times) * 0.99)]:.1f} ms")


def _measure(call: Callable[[], object]) -> float:
    """Return milliseconds."""
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1000


def coalesce(data: Path, count: int, processes: int) -> None:
    [image] = upload(make_photographs(1))
    with ExitStack() as running, ThreadPoolExecutor(count) as pool:
        bases = [running.enter_context(serve_delivery(data, PORT + 1 + number)) for number in range(processes)]
        barrier = threading.Barrier(count)

        def ask(number: int) -> requests.Response:
            barrier.wait()
            url = f"{bases[number % processes]}/i/unsafe/w=512,h=512/{image}.webp"
            while (answer := requests.get(url, timeout=60)).status_code == 503:
                time.sleep(float(answer.headers["Retry-After"]))
            return answer

        answers = list(pool.map(ask, range(count)))
    sources = Counter((each.status_code, each.headers.get("Cache-Status")) for each in answers)
    print(f"{count} requests to {processes} processes: {dict(sources)}, {len({each.content for each in answers})} body")


def speed(data: Path, seconds: float) -> None:
    with ExitStack() as running:
        many = {"DELIVERY_NEW_PER_HOUR": "100000"}
        base = running.enter_context(serve_delivery(data, PORT + 1, **many))
        alone = many | {"PROCESSING_DECODERS": "1"}
        pair = [running.enter_context(serve_delivery(data, PORT + 2 + number, **alone)) for number in range(2)]
        edge = running.enter_context(serve_edge(data, PORT + 1))
        thumbors = start_thumbors(running, data) if THUMBOR.is_file() else {}
        for form, quality in (("jpeg", 80), ("webp", 75)):
            photographs = make_photographs(24, form)
            images = upload(photographs, form)
            _report_render(photographs, form, quality)
            cold = (
                f"/i/unsafe/w={512 - turn},h=512,q={quality}/{image}.{form}" for turn in range(200) for image in images
            )
            _report(f"new {form}, one connection", [base], cold, seconds, connections=1)
            _report(f"new {form}", [base], cold, seconds)
            for process in pair:  # starts its sandbox
                requests.get(f"{process}{next(cold)}", timeout=60).raise_for_status()
            _report(f"new {form}, two processes", pair, cold, seconds)
            filters = f"filters:format({form}):quality({quality})"
            for name, (processes, name_source) in thumbors.items():
                sources = [name_source(photograph, form) for photograph in photographs]
                asked = (
                    f"/unsafe/fit-in/512x{512 + turn}/{filters}/{source}" for turn in range(200) for source in sources
                )
                _report(f"{name} {form}, one connection", processes, asked, seconds, connections=1)
                _report(f"{name} {form}", processes, asked, seconds)
            stored = [f"/i/unsafe/w=512,h=512,q={quality}/{image}.{form}" for image in images]
            for path in stored:
                requests.get(f"{edge}{path}", timeout=60).raise_for_status()
            _report(f"stored {form}", [base], itertools.cycle(stored), seconds)
            _report(f"stored {form}, two processes", pair, itertools.cycle(stored), seconds)
            _report(f"in the edge's cache, {form}", [edge], itertools.cycle(stored), seconds)


@contextmanager
def serve_edge(data: Path, port: int) -> Iterator[str]:
    """Run nginx as under Compose, with the function at this port behind it."""
    with Names() as names:
        names.address = "127.0.0.1"
        hosts = ROOT / "infra/compose/hosts-anonymous.conf"
        with run_edge(
            data / "nginx", BACKENDS["compose"], backend_port=port, dns_port=names.port, hosts=hosts
        ) as address:
            yield address


def start_thumbors(running: ExitStack, data: Path) -> dict[str, tuple[list[str], Callable[[bytes, str], str]]]:
    """Return the addresses of each thumbor's processes, and a function that names a photograph as it does."""
    folder = data / "thumbor"
    folder.mkdir()

    def save(photograph: bytes, form: str) -> str:
        name = f"{hashlib.sha256(photograph).hexdigest()}.{form}"
        (folder / name).write_bytes(photograph)
        return name

    def sign(photograph: bytes, form: str) -> str:
        return quote(sign_original(data, photograph, form), safe="")

    files: dict[str, object] = {"LOADER": "thumbor.loaders.file_loader", "FILE_LOADER_ROOT_PATH": f"{folder}"}
    stored: dict[str, object] = {
        "LOADER": "thumbor.loaders.http_loader",
        "RESULT_STORAGE": "thumbor.result_storages.file_storage",
        "RESULT_STORAGE_STORES_UNSAFE": True,
        "RESULT_STORAGE_FILE_STORAGE_ROOT_PATH": f"{folder / 'results'}",
    }

    def start(options: dict[str, object], *ports: int) -> list[str]:
        return [running.enter_context(serve_thumbor(folder, options, port)) for port in ports]

    return {
        "thumbor, files only": (start(files, PORT + 9, PORT + 10), save),
        "thumbor, as ours": (start(stored, PORT + 11, PORT + 12), sign),
    }


@contextmanager
def serve_thumbor(folder: Path, options: dict[str, object], port: int) -> Iterator[str]:
    """Serve one process. Of two that share a port, one may get all connections, and the other none.

    A process has one request at a time.
    """
    configuration = folder / f"{port}.conf"
    options = options | {"STORAGE": "thumbor.storages.no_storage", "ALLOW_UNSAFE_URL": True}
    configuration.write_text("".join(f"{name} = {value!r}\n" for name, value in options.items()))
    command = [f"{THUMBOR}", "--ip=127.0.0.1", f"--port={port}", f"--conf={configuration}"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        while not _is_ready(port, "/healthcheck"):
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def sign_original(data: Path, photograph: bytes, form: str) -> str:
    """Return a URL of the original in the store."""
    environ = read_environment(data)
    client = boto3.client(
        "s3",
        endpoint_url=environ["S3_ENDPOINT_URL"],
        region_name="us-east-1",
        aws_access_key_id=environ["S3_ACCESS_KEY_ID"],
        aws_secret_access_key=environ["S3_SECRET_ACCESS_KEY"],
    )
    key = f"originals/{hashlib.sha256(photograph).hexdigest()}.{Format(form).extension}"
    url: str = client.generate_presigned_url("get_object", {"Bucket": "completed-images", "Key": key}, ExpiresIn=3600)
    return url


def read_environment(data: Path) -> dict[str, str]:
    """Return the settings of the service that runs on this folder."""
    stored = (line.partition("=") for line in (data / "environment").read_text().splitlines())
    return {name: value.strip("'") for name, _, value in stored}


def _report_render(photographs: list[bytes], form: str, quality: int) -> None:
    resize = {"kind": "resize", "width": 512, "height": 512, "fit": "inside", "enlarge": False}
    output = {"format": form, "quality": quality}
    recipe = read_recipe({"name": "x", "operations": [resize], "output": output})
    times = [_measure(lambda data=data: render(data, (recipe,), Limits())) for data in photographs * 2]
    print(f"render() {form}: {statistics.median(times):.1f} ms")


def _report(name: str, bases: list[str], paths: Iterator[str], seconds: float, connections: int = 4) -> None:
    """Measure with connections that are shared out evenly among the addresses."""
    lock, until, times = threading.Lock(), time.monotonic() + seconds, []

    def work(number: int) -> None:
        address = urlsplit(bases[number % len(bases)]).netloc
        # Not requests: its client takes a millisecond, as much as what it measures.
        with closing(http.client.HTTPConnection(address, timeout=60)) as connection:
            while time.monotonic() < until:
                with lock:
                    path = next(paths)
                began = time.perf_counter()
                connection.request("GET", path)
                answer = connection.getresponse()
                body = answer.read()
                assert answer.status == 200, body
                times.append((time.perf_counter() - began) * 1000)

    with ThreadPoolExecutor(connections) as pool:
        list(pool.map(work, range(connections)))
    times.sort()
    p99 = times[int(len(times) * 0.99)]
    print(f"{name}: {len(times) / seconds:.0f}/s, p50 {statistics.median(times):.1f} ms, p99 {p99:.1f} ms", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["flood", "coalesce", "speed"])
    parser.add_argument("--requests", type=int)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=8)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, serve(Path(folder)):
        if given.what == "flood":
            flood(Path(folder), given.requests or 10_000)
        elif given.what == "coalesce":
            coalesce(Path(folder), given.requests or 200, given.processes)
        else:
            speed(Path(folder), given.seconds)


if __name__ == "__main__":
    main()
