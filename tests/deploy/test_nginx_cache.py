"""The nginx edge stores renditions: it asks for each once, keeps what it may, and shares it among callers alike."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests
from nginx import BACKENDS, Names, run_edge
from service import ROOT, find_free_port, wait_for

CHROMIUM = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"


class Function(ThreadingHTTPServer):
    """Stands behind the edge. The last segment of a path says what it responds with."""

    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.2", find_free_port()), _Handler)
        self.seen: list[tuple[str, str, str | None]] = []
        """Method, path, and If-None-Match of each request."""
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}).start()

    def count(self, path: str) -> int:
        return sum(seen == path for _, seen, _ in self.seen)


class _Handler(BaseHTTPRequestHandler):
    server: Function

    def respond(self) -> None:
        self.server.seen.append((self.command, self.path, self.headers["If-None-Match"]))
        kind = self.path.rpartition("/")[2].partition("?")[0]
        status = {"missing": 404, "busy": 503}.get(kind, 200)
        if self.headers["If-None-Match"] == '"v1"':
            status = 304
        body = f"{kind} {self.headers['Accept']}".encode() if kind != "large" else bytes(10_000_001)
        with suppress(OSError):
            self.send_response(status)
            self.send_header("Cache-Control", "no-store" if kind in ("busy", "private") else "public, max-age=31536000")
            self.send_header("ETag", '"v1"')
            self.send_header("Accept-Ranges", "bytes")
            if kind not in ("busy", "private"):
                self.send_header("X-Accel-Expires", "1" if kind == "brief" else "60")
            if status != 304:
                self.send_header("Content-Length", f"{len(body)}")
            self.end_headers()
            if self.command == "GET" and status != 304:
                self.wfile.write(body)

    do_GET = do_HEAD = respond  # noqa: N815  names that http.server looks for

    def log_message(self, *_line: object) -> None:
        """Log nothing."""


@pytest.fixture(scope="module")
def function() -> Iterator[Function]:
    function = Function()
    yield function
    function.shutdown()
    function.server_close()


@pytest.fixture(scope="module")
def edge(function: Function, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with Names() as names:
        names.address = "127.0.0.2"
        folder = tmp_path_factory.mktemp("edge") / "nginx"
        hosts = ROOT / "infra/compose/hosts-anonymous.conf"
        with run_edge(
            folder, BACKENDS["functions"], backend_port=function.server_port, dns_port=names.port, hosts=hosts
        ) as url:
            yield url


def get(url: str, accept: str = "*/*", method: str = "GET", **headers: str) -> requests.Response:
    return requests.request(method, url, headers={"Accept": accept, **headers}, timeout=20)


def test_many_requests_for_one_rendition_reach_the_function_once(edge: str, function: Function) -> None:
    path = "/i/unsafe/w=1/crowd"
    barrier = threading.Barrier(24)

    def ask(_: int) -> requests.Response:
        barrier.wait()
        return get(edge + path)

    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(ask, range(24)))

    assert {(each.status_code, each.content) for each in answers} == {(200, b"crowd */*")}
    assert function.count(path) == 1
    later = get(edge + path)
    assert later.headers["Cache-Status"] == "edge; hit"
    assert later.headers["Cache-Control"] == "public, max-age=31536000"
    assert "X-Accel-Expires" not in later.headers


def test_callers_who_accept_the_same_formats_share_a_rendition(edge: str, function: Function) -> None:
    path = "/i/unsafe/w=1/shared"
    for accept in (CHROMIUM, "image/webp, image/avif", "IMAGE/AVIF,IMAGE/WEBP,*/*"):
        assert get(edge + path, accept).text == f"shared {CHROMIUM}"
    assert function.count(path) == 1

    for accept in ("image/avif", "image/webp,*/*", "*/*", "image/avif;q=0.1,image/webp"):
        assert get(edge + path, accept).text == f"shared {accept}"
    assert get(edge + path, "text/html").text == "shared */*"
    assert function.count(path) == 5


def test_the_other_dialects_have_a_variant_for_each_accept(edge: str, function: Function) -> None:
    for accept in ("image/png", "image/jpeg", "image/png"):
        assert get(f"{edge}/thumbor/unsafe/x", accept).text == f"x {accept}"
    assert function.count("/thumbor/unsafe/x") == 2


def test_neither_a_query_nor_an_origin_makes_another_rendition(edge: str, function: Function) -> None:
    path = "/i/unsafe/w=1/query"
    for query in ("", "?x=1", "?x=2"):
        assert get(edge + path + query).status_code == 200
        assert get(edge + path + query, Origin=f"https://{len(query)}.example").status_code == 200
    assert sum(seen.startswith(path) for _, seen, _ in function.seen) == 1


def test_an_old_copy_is_used_again_once_the_function_says_that_it_is_current(edge: str, function: Function) -> None:
    path = "/i/unsafe/w=1/brief"
    first = get(edge + path)

    again = wait_for(lambda: get(edge + path), lambda _: ("GET", path, '"v1"') in function.seen)

    assert (again.status_code, again.content) == (200, first.content)


@pytest.mark.parametrize(("kind", "times"), [("missing", 1), ("busy", 2), ("private", 2), ("large", 2)])
def test_what_is_missing_is_remembered_and_what_may_not_or_need_not_be_is_not(
    edge: str, function: Function, kind: str, times: int
) -> None:
    path = f"/i/unsafe/w=1/{kind}"
    answers = [get(edge + path).status_code for _ in range(2)]

    assert answers[0] == answers[1]
    assert function.count(path) == times


def test_head_is_asked_as_such(edge: str, function: Function) -> None:
    path = "/i/unsafe/w=1/head"
    assert get(edge + path, method="HEAD").content == b""
    assert get(edge + path).text == "head */*"
    assert [method for method, seen, _ in function.seen if seen == path] == ["HEAD", "GET"]


def test_a_part_of_a_stored_rendition_and_a_current_copy_need_no_function(edge: str, function: Function) -> None:
    path = "/i/unsafe/w=1/part"
    get(edge + path)

    part = get(edge + path, Range="bytes=0-3")
    current = get(edge + path, **{"If-None-Match": '"v1"'})

    assert (part.status_code, part.content, current.status_code) == (206, b"part", 304)
    assert function.count(path) == 1


def test_nothing_else_is_stored(edge: str, function: Function) -> None:
    for _ in range(2):
        get(f"{edge}/api/v1/images/x")
    assert function.count("/api/v1/images/x") == 2
