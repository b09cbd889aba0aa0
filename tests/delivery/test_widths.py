"""DELIVERY_WIDTHS: the widths that unsigned URLs may ask for, in all three dialects."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st
from published import open_image
from service import Api, Platform, make_photo, serve_function

from shared_lib.delivery.imgproxy import geometry as imgproxy
from shared_lib.delivery.imgproxy.grammar import parse as parse_imgproxy
from shared_lib.delivery.imgproxy.options import read_options
from shared_lib.delivery.thumbor import geometry as thumbor
from shared_lib.delivery.thumbor.dialect import sign
from shared_lib.delivery.thumbor.grammar import parse as parse_thumbor

Get = Callable[[str], requests.Response]
KEY = "a key of the tests"


@pytest.fixture(scope="module")
def get(platform: Platform) -> Iterator[Get]:
    """Request a URL from functions that accept unsigned ones in few widths, though callers need credentials."""
    more = {
        "AUTH_MODE": "required",
        "DELIVERY_UNSIGNED": "true",
        "DELIVERY_WIDTHS": "40,80",
        "THUMBOR_SECURITY_KEY": KEY,
        "IMGPROXY_PRESETS": "wide=w:150,tall=h:50",
    }
    names = {"i": "deliver_image", "imgproxy": "deliver_imgproxy", "thumbor": "deliver_thumbor"}
    with ExitStack() as stack:
        ports = {root: stack.enter_context(serve_function(platform, name, **more)) for root, name in names.items()}
        yield lambda path: requests.get(f"http://127.0.0.1:{ports[path.split('/')[1]]}{path}", timeout=60)


@pytest.fixture(scope="module")
def image(api: Api) -> str:
    uuid = api.upload(make_photo(200, 100))
    api.await_end(uuid)
    return uuid


@pytest.mark.parametrize(
    ("path", "width"),
    [
        ("/i/unsafe/w=40/{image}", 40),
        ("/i/unsafe/w=40,dpr=2/{image}", 80),
        ("/i/unsafe/small/{image}", 200),
        ("/imgproxy/_/w:40/plain/{image}", 40),
        ("/imgproxy/_/w:40/dpr:2/plain/{image}", 80),
        ("/imgproxy/_/rs:fill:20:20/pd:0:10/plain/{image}", 40),
        ("/imgproxy/_/pr:wide/f:png/plain/{image}", 150),
        ("/imgproxy/_/pr:small/plain/{image}", 200),
        ("/thumbor/unsafe/40x0/{image}", 40),
        ("/thumbor/unsafe/fit-in/80x900/{image}", 80),
        ("/thumbor/unsafe/-40x20/smart/filters:proportion(0.5)/{image}", 20),
    ],
)
def test_an_unsigned_url_may_ask_for_a_width_of_the_list_and_for_presets(
    get: Get, image: str, path: str, width: int
) -> None:
    assert open_image(get(path.format(image=image))).width == width


@pytest.mark.parametrize(
    "path",
    [
        "/i/unsafe/w=41/{image}",
        "/i/unsafe/h=50/{image}",
        "/i/unsafe/w=40,h=100,fit=outside/{image}",
        "/imgproxy/_/plain/{image}",
        "/imgproxy/_/w:41/plain/{image}",
        "/imgproxy/_/h:50/plain/{image}",
        "/imgproxy/_/w:40/dpr:3/plain/{image}",
        "/imgproxy/_/w:40/z:1.5/plain/{image}",
        "/imgproxy/_/w:80/dpr:0.5/plain/{image}",
        "/imgproxy/_/w:40/pd:1/plain/{image}",
        "/imgproxy/_/h:10/mw:150/plain/{image}",
        "/imgproxy/_/pr:wide/w:150/plain/{image}",
        "/imgproxy/_/pr:wide:tall/q:80/plain/{image}",
        "/thumbor/unsafe/{image}",
        "/thumbor/unsafe/41x0/{image}",
        "/thumbor/unsafe/0x50/{image}",
        "/thumbor/unsafe/origx50/{image}",
        "/thumbor/unsafe/full-fit-in/40x90/{image}",
        "/thumbor/unsafe/adaptive-fit-in/40x150/{image}",
        "/thumbor/unsafe/40x150/filters:rotate(90)/{image}",
        "/thumbor/unsafe/debug/40x20/{image}",
        "/thumbor/unsafe/filters:extract_focal()/x/unsafe/40x20/{image}",
    ],
)
def test_an_unsigned_url_of_any_dialect_is_refused_in_every_other_width(get: Get, image: str, path: str) -> None:
    refused = get(path.format(image=image))

    assert refused.status_code == {"i": 400, "imgproxy": 404, "thumbor": 400}[path.split("/")[1]]


def test_a_signed_url_may_ask_for_any_width(get: Get, image: str) -> None:
    path = f"150x0/{image}"

    assert open_image(get(f"/thumbor/{sign(KEY, path)}/{path}")).width == 150


sides = st.integers(1, 400)
number = st.integers(0, 400)
OPTIONS = st.tuples(
    st.sampled_from(["fit", "fill", "fill-down", "force", "auto"]),
    sides,
    number,
    st.booleans(),
    st.booleans(),
    st.sampled_from([1, 1.5, 2, 3]),
    st.sampled_from([0.5, 1, 2.5]),
    st.integers(0, 20),
    number,
    number,
    st.sampled_from(["", "c:0.5:30/", "rot:90/", "exar:1/", "c:30:0.2/exar:1/rot:270/"]),
)


@settings(max_examples=400, deadline=None)
@given(st.tuples(sides, sides), OPTIONS)
def test_no_plan_of_an_imgproxy_url_is_wider_than_the_width_it_asks_for(
    source: tuple[int, int], chosen: tuple[object, ...]
) -> None:
    kind, width, height, enlarge, extend, dpr, zoom, padding, least_width, least_height, more = chosen
    url = parse_imgproxy(
        f"/rs:{kind}:{width}:{height}:{int(bool(enlarge))}:{int(bool(extend))}/dpr:{dpr}/z:{zoom}/pd:{padding}"
        f"/mw:{least_width}/mh:{least_height}/{more}plain/x"
    )
    options = read_options(url.options, "")

    asked = imgproxy.ask_width(options)

    assert asked
    assert imgproxy.make_plan(source, options).size[0] <= asked


@settings(max_examples=400, deadline=None)
@given(
    st.tuples(sides, sides),
    st.sampled_from(["", "10x10:300x60/"]),
    st.sampled_from(["", "fit-in/", "full-fit-in/", "adaptive-fit-in/", "adaptive-full-fit-in/"]),
    st.lists(st.one_of(sides.map(str), st.sampled_from(["0", "", "orig"])), min_size=2, max_size=2),
    st.booleans(),
)
def test_no_plan_of_a_thumbor_url_is_wider_than_the_width_it_asks_for(
    source: tuple[int, int], crop: str, fit: str, size: list[str], may_enlarge: bool
) -> None:
    url = parse_thumbor(f"{crop}{fit}{'x'.join(size)}/x.jpg")

    asked = thumbor.ask_width(url)

    assert asked is None or thumbor.make_plan(source, url, may_enlarge=may_enlarge).size[0] <= asked
