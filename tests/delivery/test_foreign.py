"""Foreign images: only from servers that are allowed, and from no address inside, whatever a URL leads to."""

import base64
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address, IPv6Address, ip_network
from itertools import cycle
from urllib.parse import quote

import pytest
from published import make_and_store
from service import Api, make_photo

from shared_lib import settings
from shared_lib.delivery.imgproxy.dialect import ImgproxyDialect
from shared_lib.delivery.imgproxy.dialect import word_error as word_as_imgproxy
from shared_lib.delivery.order import Order
from shared_lib.delivery.thumbor.dialect import ThumborDialect
from shared_lib.delivery.thumbor.dialect import word_error as word_as_thumbor
from shared_lib.errors import NotFound, ServiceError, Unavailable
from shared_lib.foreign import ForeignSources, Validators, identify, resolve
from shared_lib.runtime import Runtime
from shared_lib.storage.buckets import Gallery
from shared_lib.storage.store import Store

ANY = ("http://*/", "https://*/")
LOOPBACK = (ip_network("127.0.0.0/8"),)


class Origin(ThreadingHTTPServer):
    """A server with pictures, which counts connections."""

    daemon_threads = True

    def __init__(self, address: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__((address, port), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.files = {"/photo.jpg": make_photo(64, 48)}
        self.seen: list[tuple[str, str | None]] = []
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}).start()


class _Handler(BaseHTTPRequestHandler):
    server: Origin

    def do_GET(self) -> None:
        self.server.seen.append((self.path, self.headers["If-None-Match"]))
        if self.path.startswith("/to/"):
            self._respond(302, b"", Location=self.path.removeprefix("/to/"))
        elif self.path == "/loop":
            self._respond(302, b"", Location="/loop")
        elif self.path == "/drip":
            self.send_response(200)
            self.end_headers()
            with suppress(OSError):
                while True:  # until the other side has had enough
                    self.wfile.write(b"x")
                    self.wfile.flush()
                    time.sleep(0.01)
        elif self.path == "/short":
            self.send_response(200)
            self.send_header("Content-Length", "99999")
            self.end_headers()
            self.wfile.write(b"x")
        elif self.path == "/gzip":
            self._respond(200, b"x", **{"Content-Encoding": "gzip"})
        elif (data := self.server.files.get(self.path.partition("?")[0])) is None:
            self._respond(404, b"")
        else:
            etag = f'"{hash(data)}"'
            self._respond(304 if self.headers["If-None-Match"] == etag else 200, data, ETag=etag)

    def _respond(self, status: int, data: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", f"{0 if status == 304 else len(data)}")
        self.end_headers()
        if status != 304:
            self.wfile.write(data)

    def log_message(self, *_line: object) -> None:
        """Log nothing."""


@pytest.fixture
def origin() -> Iterator[Origin]:
    origin = Origin()
    yield origin
    origin.shutdown()
    origin.server_close()


@pytest.fixture(scope="module")
def listener() -> Iterator[list[socket.socket]]:
    """Listen on one port of addresses inside. Nobody may connect."""
    first = socket.create_server(("127.0.0.1", 0))
    port = first.getsockname()[1]
    others = [socket.create_server(("127.0.0.2", port)), socket.create_server(("::1", port), family=socket.AF_INET6)]
    yield [first, *others]
    for each in (first, *others):
        each.close()


INSIDE_4 = """
    127.0.0.1 127.0.0.2 127.1.2.3 127.255.255.254 0.0.0.0 0.0.0.1 10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255
    192.168.0.1 192.168.255.255 169.254.169.254 169.254.170.2 169.254.0.1 100.64.0.1 100.100.100.200 100.127.255.255
    192.0.0.1 192.0.0.192 192.0.2.1 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255
    240.0.0.1 255.255.255.255 168.63.129.16 192.88.99.1
"""
INSIDE_6 = """
    :: ::1 fe80::1 febf::1 fc00::1 fd00::1 fd00:ec2::254 fd20:ce::254 fec0::1 ff02::1 ff0e::1 100::1 2001:db8::1
    2001::1 2001:0:7f00:1::1 2001:10::1 2001:20::1 3fff::1 5f00::1
    2001:4860::5efe:a00:1 2001:4860::200:5efe:7f00:1 2a00:1450:4001::5efe:a9fe:a9fe
"""


def spell(text: str) -> set[str]:
    """Return an IPv4 address as hosts that mean it to some program."""
    address = IPv4Address(text)
    a, b, c, d = address.packed
    number = int(address)
    return {
        text,
        f"{number}",
        hex(number),
        f"0{number:o}",
        f"{a:#x}.{b:#x}.{c:#x}.{d:#x}",
        f"0{a:o}.0{b:o}.0{c:o}.0{d:o}",
        f"{a}.{b}.{c * 256 + d}",
        f"{a}.{b * 65536 + c * 256 + d}",
        f"{a:#x}.{b * 65536 + c * 256 + d}",
    }


def embed(text: str) -> set[str]:
    """Return IPv6 addresses that stand for an IPv4 one."""
    number = int(IPv4Address(text))
    prefixes = ("::ffff:0:0", "::ffff:0:0:0", "::", "64:ff9b::", "64:ff9b:1::")
    embedded = {f"[{IPv6Address(int(IPv6Address(each)) + number)}]" for each in prefixes}
    six_to_four = IPv6Address((0x2002 << 112) + (number << 80) + 1)
    teredo = IPv6Address((0x20010000 << 96) + (number ^ 0xFFFFFFFF))
    return embedded | {f"[{six_to_four}]", f"[{teredo}]", f"[::ffff:{text}]"}


NAMES = ["localhost", "LOCALHOST", "localhost.localdomain", "ip6-localhost"]
HOSTS = sorted(
    {host for each in INSIDE_4.split() for host in spell(each)}
    | {host for each in INSIDE_4.split()[:24] for host in embed(each)}
    | {f"[{each}]" for each in INSIDE_6.split()}
    | set(NAMES)
)
TRICKS = (
    "http://user@127.0.0.1:{port}/",
    "http://public.example@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}#@public.example/",
    "http://127.0.0.1:{port}\\@public.example/",
    "http://public.example\\@127.0.0.1:{port}/",
    "http:127.0.0.1:{port}/",
    "http:/127.0.0.1:{port}/",
    "http:///127.0.0.1:{port}/",
    "http:\\\\127.0.0.1:{port}/",
    "//127.0.0.1:{port}/",
    "http://127.0.0.1:{port}\r\nHost: public.example/",
    "http://127.0.0.1:{port}\t/",
    " http://127.0.0.1:{port}/",
    "http://127.0.0.1%00.public.example:{port}/",
    "http://127.0.0.1.:{port}/",
    "http://127。0。0。1:{port}/",
    "http://①②⑦.⓪.⓪.①:{port}/",
    "http://[::1%25lo]:{port}/",
    "http://[::ffff:127.0.0.1%lo]:{port}/",
    "http://127.0.0.1:{port}:80/",
    "http://127.0.0.1:0{port}/",
    "http://127.0.0.1:99999/",
    "http://127.0.0.1:0/",
    "http://127.0.0.1:-1/",
    "https://127.0.0.1:{port}/",
    "HTTP://127.0.0.1:{port}/",
    "ftp://127.0.0.1:{port}/",
    "gopher://127.0.0.1:{port}/_GET",
    "file:///etc/passwd",
    "dict://127.0.0.1:{port}/",
    "data:image/png;base64,AAAA",
    "unix:///var/run/docker.sock",
    "http://",
    "http://:{port}/",
    "http://?/",
    "http://-/",
    "http://a..b:{port}/",
)


def test_no_url_reaches_an_address_inside(listener: list[socket.socket]) -> None:
    port = listener[0].getsockname()[1]
    sources = ForeignSources(ANY, (), 1000)
    urls = [f"http://{host}:{port}/photo.jpg" for host in HOSTS]
    urls += [trick.format(port=port) for trick in TRICKS]
    assert len(urls) >= 500

    for url in urls:
        with pytest.raises(NotFound):
            sources.fetch(url, Validators())

    assert_silence(listener)


def assert_silence(listener: list[socket.socket]) -> None:
    for each in listener:
        each.settimeout(0)
        with pytest.raises(BlockingIOError):
            each.accept()


def test_no_redirect_leads_to_an_address_inside(origin: Origin, listener: list[socket.socket]) -> None:
    """The first server may be reached, because a name leads to it. The others may not."""
    port = listener[0].getsockname()[1]

    def find(host: str, port: int) -> list[str]:
        return ["127.0.0.1"] if host == "public.example" else resolve(host, port)

    sources = ForeignSources(ANY, (ip_network("127.0.0.1/32"),), 1000, find)
    start = f"http://public.example:{origin.server_port}/to/"
    inside = [
        f"http://{host}:{port}/" for host in ("127.0.0.2", "[::1]", "0x7f.0.0.2", "2130706434", "[::ffff:7f00:2]")
    ]
    for location in (*inside, "//127.0.0.2:1/", "file:///etc/passwd", "http://169.254.169.254/latest/meta-data/"):
        with pytest.raises(NotFound):
            sources.fetch(start + location, Validators())

    assert len(origin.seen) == 8
    assert_silence(listener)


def answer(addresses: list[str], _host: str, _port: int) -> list[str]:
    return addresses


def test_a_name_that_means_another_address_a_moment_later_leads_nowhere(listener: list[socket.socket]) -> None:
    port = listener[0].getsockname()[1]
    for answers in (["127.0.0.1"], ["93.184.216.34", "127.0.0.1"], ["::1"], [], ["no-address"]):
        sources = ForeignSources(ANY, (), 1000, partial(answer, answers))
        with pytest.raises(NotFound):
            sources.fetch(f"http://rebinding.example:{port}/", Validators())
    assert_silence(listener)


def test_the_connection_goes_to_the_address_that_was_checked(origin: Origin, listener: list[socket.socket]) -> None:
    asked = cycle([["127.0.0.1"], ["127.0.0.2"]])
    sources = ForeignSources(ANY, (ip_network("127.0.0.1/32"),), 10_000_000, lambda *_: next(asked))

    found = sources.fetch(f"http://rebinding.example:{origin.server_port}/photo.jpg", Validators())

    assert found
    assert found.data == origin.files["/photo.jpg"]
    with pytest.raises(NotFound):
        sources.fetch(f"http://rebinding.example:{listener[0].getsockname()[1]}/photo.jpg", Validators())
    assert_silence(listener)


@pytest.mark.parametrize(
    ("prefix", "allowed", "refused"),
    [
        (
            "https://images.example/a/",
            ["https://images.example/a/b", "HTTPS://IMAGES.example:443/a/"],
            [
                "http://images.example/a/b",
                "https://images.example/b",
                "https://images.example:444/a/b",
                "https://images.example.evil/a/b",
                "https://evil.images.example/a/b",
                "https://images.example/a/../b",
                "https://images.example/a/%2e%2e/b",
                "https://images.example/a/..%2fb",
                "https://images.example/A/b",
            ],
        ),
        (
            "http://*.images.example/",
            ["http://a.images.example/x", "http://a.b.images.example/"],
            ["http://images.example/", "http://ximages.example/", "http://a.images.example:81/"],
        ),
    ],
)
def test_a_url_has_to_begin_as_an_operator_allows(prefix: str, allowed: list[str], refused: list[str]) -> None:
    sources = ForeignSources((prefix,), (), 1000)
    for url in allowed:
        assert sources.check(url)
    for url in refused:
        with pytest.raises(NotFound) as error:
            sources.check(url)
        assert error.value.code == "source_not_allowed"


def test_by_default_nothing_is_fetched() -> None:
    with pytest.raises(NotFound):
        ForeignSources(settings.Foreign().sources, (), 1000).check("https://images.example/")


@pytest.mark.parametrize("prefix", ["images.example", "ftp://a/", "https://a", "https://*", "*", "https://a.*/"])
def test_a_wrong_prefix_is_a_mistake_in_the_settings(prefix: str) -> None:
    with pytest.raises(ValueError, match="prefixes"):
        settings.Foreign(sources=(prefix,))


@pytest.mark.parametrize("path", ["/loop", "/missing", "/short", "/gzip", "/photo.jpg"])
def test_what_is_missing_broken_or_too_large_is_refused(origin: Origin, path: str) -> None:
    with pytest.raises(ServiceError):
        ForeignSources(ANY, LOOPBACK, 100).fetch(origin.url + path, Validators())


def test_no_proxy_is_taken_from_the_environment(origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    assert ForeignSources(ANY, LOOPBACK, 10_000_000).fetch(f"{origin.url}/photo.jpg", Validators())


@pytest.fixture(scope="module")
def fetching(rt: Runtime) -> Iterator[Runtime]:
    """Another process, which may fetch from this machine."""
    foreign = settings.Foreign(sources=ANY, networks=LOOPBACK)
    another = Runtime(rt.settings.model_copy(update={"foreign": foreign}))
    yield another
    another.sandbox.close()
    another.broker.close()
    another.database.disconnect()


def order(fetching: Runtime, url: str) -> Order:
    return fetching.delivery.imgproxy.read(f"/imgproxy/unsafe/rs:fit:32:32/plain/{quote(url, safe=':/')}@png", "*/*")


def test_a_foreign_image_is_downloaded_once_for_all_sizes_and_dialects(
    fetching: Runtime, api: Api, origin: Origin
) -> None:
    url = f"{origin.url}/photo.jpg"
    engine = fetching.delivery.engine
    made = make_and_store(fetching, engine.find(order(fetching, url)))
    assert made.stored.content_type == "image/png"

    again = engine.find(order(fetching, url))
    by_thumbor = engine.find(fetching.delivery.thumbor.read(f"/thumbor/unsafe/16x12/{quote(url, safe='')}", "*/*"))

    assert again.stored
    assert (by_thumbor.image.uuid, make_and_store(fetching, by_thumbor).how) == (again.image.uuid, "stored")
    assert [path for path, _ in origin.seen] == ["/photo.jpg"]
    assert api("GET", f"/images/{again.image.uuid}").json()["filename"] == "photo.jpg"


def test_its_server_is_asked_later_whether_it_has_changed(fetching: Runtime, api: Api, origin: Origin) -> None:
    url = f"{origin.url}/photo.jpg"
    first = fetching.delivery.engine.find(order(fetching, url)).image

    def become_old() -> None:
        with fetching.database.transaction() as tx:
            tx.rows("UPDATE foreign_images SET fresh_until = now() WHERE url = :url", url=url)

    become_old()
    assert fetching.delivery.engine.find(order(fetching, url)).image.uuid == first.uuid
    assert origin.seen[-1][1], "with its ETag"

    origin.files["/photo.jpg"] = make_photo(48, 64)
    become_old()
    changed = fetching.delivery.engine.find(order(fetching, url)).image
    assert (changed.width, changed.uuid != first.uuid) == (48, True)
    assert api("GET", f"/images/{first.uuid}").status_code == 404

    origin.files.clear()
    become_old()
    assert fetching.delivery.engine.find(order(fetching, url)).image.uuid == changed.uuid, "better old than none"


@pytest.mark.parametrize(
    "path", ["/image space.jpg", "/maracujá.jpg", "/%C3%A9%20%25.jpg", "/a+b&c='d'.jpg", "/写真/🐈.jpg"]
)
def test_a_source_may_have_spaces_and_any_letters(fetching: Runtime, origin: Origin, path: str) -> None:
    sent = quote(path, safe="/%+&='")
    origin.files[sent] = make_photo(64, 48)
    url, read = f"{origin.url}{path}", fetching.delivery.imgproxy.read
    encoded = base64.urlsafe_b64encode(url.encode()).decode().rstrip("=")

    for source in (f"plain/{quote(url, safe=':/')}", encoded):
        found = fetching.delivery.engine.find(read(f"/imgproxy/unsafe/rs:fit:32:32/{source}", "*/*"))
        assert (found.image.width, found.image.height) == (64, 48)

    assert {seen for seen, _ in origin.seen} == {sent}


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("{host}/photo.jpg", "/photo.jpg"),
        ("http://{host}/photo.jpg", "/photo.jpg"),
        ("http%3A%2F%2F{host}%2Fphoto.jpg", "/photo.jpg"),
        ("{host}/image%20space.jpg", "/image%20space.jpg"),
        ("{host}/image%2520space.jpg", "/image%20space.jpg"),
        ("{host}/maracuj%C3%A1.jpg", "/maracuj%C3%A1.jpg"),
        ("http://{host}/maracuj%25C3%25A1.jpg", "/maracuj%C3%A1.jpg"),
        ("{host}/photo.jpg%3Fx=1", "/photo.jpg?x=1"),
        ("{host}/a%252Fb.jpg", "/a%2Fb.jpg"),
    ],
)
def test_thumbor_finds_a_source_with_and_without_a_scheme_encoded_or_not(
    fetching: Runtime, origin: Origin, written: str, sent: str
) -> None:
    origin.files[sent] = make_photo(64, 48)
    path = f"/thumbor/unsafe/30x20/{written.format(host=origin.url.removeprefix('http://'))}"

    found = fetching.delivery.engine.find(fetching.delivery.thumbor.read(path, "*/*"))

    assert (found.image.width, found.image.height) == (64, 48)
    assert [seen for seen, _ in origin.seen] == [sent]


def test_a_source_without_a_scheme_has_the_one_that_an_operator_allows() -> None:
    both, secure = (ForeignSources(each, (), 1000) for each in (ANY, ("https://images.example/",)))

    assert both.check("//images.example/x y") == "http://images.example/x%20y"
    assert secure.check("//images.example/x") == "https://images.example/x"
    for url in ("//elsewhere.example/x", "//", "///x", "//images.example\\@127.0.0.1/"):
        with pytest.raises(NotFound):
            secure.check(url)


def test_a_source_that_is_no_image_or_a_broken_one_is_unusable_in_each_dialects_words(
    fetching: Runtime, origin: Origin
) -> None:
    origin.files |= {"/text.txt": b"no image", "/broken.jpg": make_photo(200, 100)[:500]}
    for path in ("/text.txt", "/broken.jpg"):
        for _ in range(2):
            with pytest.raises(NotFound) as refused:
                fetching.delivery.engine.find(order(fetching, origin.url + path))
            assert word_as_imgproxy(refused.value) == (422, "Invalid source image")
            assert word_as_thumbor(refused.value) == (400, "")
        assert [seen for seen, _ in origin.seen].count(path) == 1
    with pytest.raises(NotFound) as missing:
        fetching.delivery.engine.find(order(fetching, f"{origin.url}/missing.jpg"))
    assert word_as_imgproxy(missing.value) == (404, "Source is unreachable")
    assert word_as_thumbor(missing.value) == (404, "")


def test_a_failure_is_remembered_for_a_moment(fetching: Runtime, origin: Origin) -> None:
    origin.files["/text.txt"] = b"no image"
    for path in ("/missing.jpg", "/text.txt"):
        for _ in range(3):
            with pytest.raises(NotFound):
                fetching.delivery.engine.find(order(fetching, origin.url + path))
        assert [seen for seen, _ in origin.seen].count(path) == 1


def test_a_service_without_sources_fetches_nothing(rt: Runtime, origin: Origin) -> None:
    with pytest.raises(NotFound):
        order(rt, f"{origin.url}/photo.jpg")
    with pytest.raises(NotFound):
        rt.delivery.thumbor.read(f"/thumbor/unsafe/16x12/{quote(origin.url, safe='')}%2Fphoto.jpg", "*/*")
    assert origin.seen == []


def test_a_server_that_sends_a_byte_at_a_time_is_stopped(origin: Origin) -> None:
    with pytest.raises(Unavailable):
        ForeignSources(ANY, LOOPBACK, 1000, seconds=0.5).fetch(f"{origin.url}/drip", Validators())


def test_an_unsigned_url_fetches_nothing_where_callers_need_credentials(origin: Origin) -> None:
    url = quote(f"{origin.url}/photo.jpg", safe="")
    imgproxy = ImgproxyDialect(
        settings.Imgproxy(), "uploads", lambda _: None, allow_unsigned=True, is_open=False, fetching="signed"
    )
    thumbor = ThumborDialect(settings.Thumbor(), allow_unsigned=True, fetching="signed")

    with pytest.raises(NotFound):
        imgproxy.read(f"/imgproxy/unsafe/plain/{url}", "*/*")
    with pytest.raises(NotFound):
        thumbor.read(f"/thumbor/unsafe/{url}", "*/*")


AWS = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=k&X-Amz-Date={0}&X-Amz-Expires=60&X-Amz-SignedHeaders=host"


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        (f"{AWS}&X-Amz-Signature={{0}}", ""),
        (f"versionId=7&{AWS}&X-Amz-Signature={{0}}&w=20", "?versionId=7&w=20"),
        (f"{AWS}&x-amz-security-token={{0}}&x-amz-signature={{0}}", ""),
        ("AWSAccessKeyId=k&Signature={0}&Expires={0}", ""),
        ("X-Goog-Algorithm=a&X-Goog-Date={0}&X-Goog-Expires=1&X-Goog-SignedHeaders=host&X-Goog-Signature={0}", ""),
        ("GoogleAccessId=k&Expires={0}&Signature={0}", ""),
        ("Expires={0}&Signature={0}&Key-Pair-Id=k&size=2", "?size=2"),
        ("Policy={0}&Signature={0}&Key-Pair-Id=k", ""),
        ("sv=2024&se={0}&sr=b&sp=r&sig={0}&tag=a", "?tag=a"),
        ("Expires=5&policy=a", "?Expires=5&policy=a"),
        ("se=1&sp=2", "?se=1&sp=2"),
        ("", "?"),
    ],
)
def test_a_file_has_one_name_however_often_its_url_is_signed_anew(query: str, kept: str) -> None:
    urls = {f"https://files.example/a.jpg?{query.format(number)}" for number in (1, 2)}

    assert {identify(url) for url in urls} == {f"https://files.example/a.jpg{kept}"}


def test_a_presigned_url_that_is_signed_anew_leads_to_the_same_image(fetching: Runtime, origin: Origin) -> None:
    url = f"{origin.url}/photo.jpg?X-Amz-Date=1&X-Amz-Signature="

    found = {fetching.delivery.engine.find(order(fetching, f"{url}{number}")).image.uuid for number in range(3)}

    assert len(found) == 1
    assert [path for path, _ in origin.seen] == ["/photo.jpg?X-Amz-Date=1&X-Amz-Signature=0"]


def list_urls(rt: Runtime, prefix: str) -> list[str]:
    with rt.database.transaction() as tx:
        return [row["url"] for row in tx.rows("SELECT url FROM foreign_images WHERE starts_with(url, :p)", p=prefix)]


def test_the_url_of_an_image_is_erased_with_it(fetching: Runtime, api: Api, origin: Origin) -> None:
    url = f"{origin.url}/photo.jpg"
    first = fetching.delivery.engine.find(order(fetching, url)).image.uuid
    assert api("GET", f"/images/{first}/privacy").json()["rows"]["foreign_images"] == 1

    assert api("POST", f"/images/{first}/actions/erase").json()["completedAt"]

    assert list_urls(fetching, origin.url) == []
    assert fetching.delivery.engine.find(order(fetching, url)).image.uuid != first, "its server still has it"


def become_unused(rt: Runtime, prefix: str) -> None:
    with rt.database.transaction() as tx:
        tx.rows("UPDATE foreign_images SET used_at = now() - interval '31 days' WHERE starts_with(url, :p)", p=prefix)


def test_an_image_that_no_url_asks_for_any_more_is_deleted_unless_it_is_in_a_collection(
    fetching: Runtime, api: Api, origin: Origin
) -> None:
    origin.files |= {"/kept.jpg": make_photo()}

    def find(path: str) -> str:
        return str(fetching.delivery.engine.find(order(fetching, origin.url + path)).image.uuid)

    unused, kept = find("/photo.jpg"), find("/kept.jpg")
    with pytest.raises(NotFound):
        find("/nothing.jpg")
    collection = api("POST", "/collections", json={"name": "kept"}).json()["data"]["uuid"]
    members = {"data": [{"type": "images", "uuid": kept}]}
    assert api("POST", f"/collections/{collection}/relationships/images", json=members).status_code == 200
    become_unused(fetching, origin.url)
    used = find("/kept.jpg"), find("/kept.jpg")
    become_unused(fetching, origin.url)

    fetching.reconciliation.run()

    assert used == (kept, kept)
    assert list_urls(fetching, origin.url) == [f"{origin.url}/kept.jpg"]
    assert api("GET", f"/images/{unused}").status_code == 404
    assert api("GET", f"/images/{kept}").status_code == 200


def test_a_use_is_recorded_so_that_an_image_in_use_stays(fetching: Runtime, api: Api, origin: Origin) -> None:
    url = f"{origin.url}/photo.jpg"
    image = fetching.delivery.engine.find(order(fetching, url)).image.uuid
    become_unused(fetching, origin.url)

    fetching.delivery.engine.find(order(fetching, url))
    fetching.reconciliation.run()

    assert api("GET", f"/images/{image}").status_code == 200


def test_a_url_is_free_again_when_what_was_fetched_cannot_be_stored(fetching: Runtime, origin: Origin) -> None:
    url = f"{origin.url}/photo.jpg"
    nowhere = Store(fetching.settings.store.model_copy(update={"endpoint_url": "http://127.0.0.1:1"}))
    ingestion = replace(fetching.ingestion, gallery=Gallery(nowhere, fetching.gallery.name))
    with pytest.raises(Unavailable):
        replace(fetching.foreign_ingestion, ingestion=ingestion).find_image(url)

    begun = time.monotonic()
    assert fetching.foreign_ingestion.find_image(url)

    assert time.monotonic() < begun + 8, "it waited for the claim to run out"
