"""The nginx edge in front of the function: strangers can't fill its cache, and pages of allowed origins can use it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from nginx import BACKENDS, HOSTS, Names, run_edge
from published import open_image
from service import Api, Platform, make_photo, serve_function
from signed_urls import SETTING, sign

ALLOWED = ("https://a.example", "https://b.example")
MISSING = "00000000-0000-4000-8000-000000000000"


class Edge:
    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.cache = folder / "renditions"

    def count_stored(self) -> int:
        return sum(each.is_file() for each in self.cache.rglob("*"))

    def get(self, path: str, origin: str | None = None) -> requests.Response:
        return requests.get(self.url + path, headers={"Origin": origin} if origin else {}, timeout=60)


@pytest.fixture(scope="module", params=[",".join(ALLOWED), "*"])
def edge(
    request: pytest.FixtureRequest, platform: Platform, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Edge]:
    more = {"HTTP_CORS_ALLOW_ORIGINS": request.param, "AUTH_MODE": "required", "DELIVERY_KEYS": SETTING}
    folder = tmp_path_factory.mktemp("edge") / "nginx"
    with serve_function(platform, "deliver_image", **more) as port, Names() as names:
        names.address = "127.0.0.1"
        backend = BACKENDS["functions"]
        with run_edge(folder, backend, backend_port=port, dns_port=names.port, hosts=HOSTS) as url:
            yield Edge(url, folder)


@pytest.fixture(scope="module")
def image(api: Api) -> str:
    uuid = api.upload(make_photo(64, 48))
    api.await_end(uuid)
    return uuid


def test_what_strangers_have_refused_takes_no_place_in_the_cache(edge: Edge, image: str) -> None:
    before = edge.count_stored()

    for number in range(8):
        refused = edge.get(f"/i/new.wrong{number}/w=10/{image}", f"https://{number}.example")
        assert refused.status_code == 403
        assert edge.get(sign(f"/w={number}1/{MISSING}")).status_code == 404
        assert edge.get(sign(f"/w=x{number}/{image}")).status_code == 400

    assert edge.count_stored() == before


def test_a_rendition_is_stored_once_for_all_origins_and_only_allowed_ones_may_read_it(edge: Edge, image: str) -> None:
    url = sign(f"/w=33/{image}")
    before = edge.count_stored()
    first = edge.get(url)
    assert open_image(first).width == 33

    for origin in (*ALLOWED, "https://elsewhere.example", "https://a.example.evil", "null", "https://a"):
        stored = edge.get(url, origin)
        assert stored.content == first.content
        assert stored.headers["Cache-Status"].endswith(", edge; hit")
        allowed = stored.headers.get("Access-Control-Allow-Origin")
        assert allowed in ("*", origin if origin in ALLOWED else None)
        assert stored.headers.get("Vary") in (None, "Origin")
        assert "ETag" in stored.headers["Access-Control-Expose-Headers"]
        assert "X-Accel-Origins" not in stored.headers

    assert edge.count_stored() == before + 1
