"""thumbor's URLs, as its clients write them."""

import io
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import requests
from differential.thumbor import check_documented
from hypothesis import given, settings
from hypothesis import strategies as st
from libthumbor import CryptoURL
from PIL import Image
from published import is_made, make_published, open_image
from pydantic import SecretStr
from service import Api, Platform, make_photo

from infra.dialects import DIALECTS
from shared_lib.delivery.thumbor.dialect import ThumborDialect, sign
from shared_lib.delivery.thumbor.filters import FILTERS
from shared_lib.delivery.thumbor.geometry import make_plan
from shared_lib.delivery.thumbor.grammar import parse
from shared_lib.errors import Forbidden, Invalid
from shared_lib.pipeline.formats import Format
from shared_lib.settings import Thumbor

Get = Callable[[str], requests.Response]
Size = tuple[int, int]


@pytest.fixture(scope="module")
def get(platform: Platform) -> Get:
    return lambda path: requests.get(f"{platform.url}/thumbor{path}", timeout=60)


@pytest.fixture(scope="module")
def image(api: Api) -> str:
    uuid = api.upload(make_photo(200, 100))
    api.await_end(uuid)
    return uuid


@pytest.mark.parametrize(
    ("source", "url", "cut", "size"),
    [
        ((800, 600), "400x150", (0, 150, 800, 300), (400, 150)),
        ((800, 600), "400x150/top", (0, 0, 800, 300), (400, 150)),
        ((800, 600), "400x150/bottom", (0, 300, 800, 300), (400, 150)),
        ((400, 200), "100x100", (100, 0, 200, 200), (100, 100)),
        ((400, 200), "100x100/left", (0, 0, 200, 200), (100, 100)),
        ((400, 200), "100x100/right/middle", (200, 0, 200, 200), (100, 100)),
        ((200, 140), "180x100", (0, 14, 200, 111), (180, 100)),
        ((200, 100), "300x300", (50, 0, 100, 100), (300, 300)),
        ((200, 100), "0x50", None, (100, 50)),
        ((200, 100), "50x", None, (50, 25)),
        ((200, 100), "x", None, (200, 100)),
        ((200, 100), "origx50", (0, 25, 200, 50), (200, 50)),
        ((800, 400), "fit-in/400x100", None, (200, 100)),
        ((800, 400), "full-fit-in/400x100", None, (400, 200)),
        ((200, 100), "fit-in/300x300", None, (200, 100)),
        ((200, 100), "full-fit-in/300x300", None, (600, 300)),
        ((800, 400), "adaptive-fit-in/100x400", None, (200, 100)),
        ((800, 400), "adaptive-full-fit-in/100x400", None, (400, 200)),
        ((200, 250), "fit-in/500x400", None, (200, 250)),
        ((200, 250), "full-fit-in/500x400", None, (500, 625)),
        ((200, 100), "fit-in/33x33", None, (33, 17)),
    ],
)
def test_what_is_cut_and_its_size_are_thumbors(source: Size, url: str, cut: object, size: Size) -> None:
    plan = make_plan(source, parse(f"{url}/image.jpg"))

    assert (plan.cut, plan.size) == (cut, size)


sides = st.integers(1, 3000)


@settings(max_examples=400, deadline=None)
@given(
    st.tuples(sides, sides),
    st.tuples(sides, sides),
    st.sampled_from(["", "fit-in/", "full-fit-in/", "adaptive-fit-in/"]),
    st.sampled_from(["", "left/top/", "right/bottom/"]),
)
def test_what_is_cut_lies_inside_and_a_size_without_fit_is_exact(
    source: Size, target: Size, fit: str, align: str
) -> None:
    plan = make_plan(source, parse(f"{fit}{target[0]}x{target[1]}/{align}i.jpg"))

    if plan.cut:
        left, top, width, height = plan.cut
        assert 0 <= left <= source[0] - width
        assert 0 <= top <= source[1] - height
    assert min(plan.size) >= 1
    if not fit:
        assert plan.size == target
    elif fit == "fit-in/":
        assert plan.size[0] <= max(target[0], 1)
        assert plan.size[0] <= source[0]
        assert plan.size[1] <= source[1]


@pytest.mark.parametrize(
    ("url", "size", "form"),
    [
        ("300x200", (300, 200), "JPEG"),
        ("-60x-40", (60, 40), "JPEG"),
        ("-0x0", (200, 100), "JPEG"),
        ("10x20:110x70", (100, 50), "JPEG"),
        ("50x50/smart", (50, 50), "JPEG"),
        ("fit-in/300x300/filters:fill(blue)", (300, 300), "JPEG"),
        ("fit-in/300x300/filters:fill(transparent):format(png)", (300, 300), "PNG"),
        ("fit-in/300x300/filters:background_color(f00):fill(0f0,1)", (300, 300), "JPEG"),
        ("filters:blur(3):grayscale():quality(50)", (200, 100), "JPEG"),
        ("filters:blur(7,2.5):strip_exif():strip_icc()", (200, 100), "JPEG"),
        ("filters:rotate(90)", (100, 200), "JPEG"),
        ("filters:rotate(45)", (200, 100), "JPEG"),
        ("100x50/filters:proportion(0.5)", (50, 25), "JPEG"),
        ("filters:format(webp)", (200, 100), "WEBP"),
        ("filters:format(bmp):nobody_knows(1,2)", (200, 100), "JPEG"),
        ("400x400/filters:no_upscale()", (200, 100), "JPEG"),
        ("60x60/filters:stretch()", (60, 60), "JPEG"),
        ("filters:max_bytes(2000):max_age(60)", (200, 100), "JPEG"),
        ("filters:brightness(20):contrast(-10):saturation(1.5)", (200, 100), "JPEG"),
        ("filters:rgb(10,-20,30):colorize(40,40,40,ff9900):equalize()", (200, 100), "JPEG"),
        ("filters:curve([(0,0),(255,255)],[(0,50),(255,200)],[],[(0,0),(99,120)])", (200, 100), "JPEG"),
        ("filters:noise(40):noise(10,3):convolution(1;2;1;2;4;2;1;2;1,3,true)", (200, 100), "JPEG"),
        ("filters:sharpen(2,1.0,true):round_corner(20|10,255,0,0)", (200, 100), "JPEG"),
        ("filters:round_corner(20,0,0,0,true):format(png)", (200, 100), "PNG"),
        ("filters:watermark({image},10,-10,50,20):watermark({image},-5p,center,0,none,30)", (200, 100), "JPEG"),
        ("filters:watermark({image},repeat,repeat,80,10,10):watermark({image},repeat,5,0,9)", (200, 100), "JPEG"),
        ("fit-in/400x400/filters:upscale()", (400, 200), "JPEG"),
        ("fit-in/400x400/filters:upscale():fill(auto)", (400, 400), "JPEG"),
        ("fit-in/300x300/filters:fill(blur)", (300, 300), "JPEG"),
        ("fit-in/300x0/filters:fill(cornflowerblue)", (300, 100), "JPEG"),
        ("100x100/filters:focal(0x0:20x20)", (100, 100), "JPEG"),
        ("trim", (200, 100), "JPEG"),
        ("trim:bottom-right:100/80x60", (80, 60), "JPEG"),
        ("trim/10x10:60x60/30x", (30, 30), "JPEG"),
        ("debug/10x10/filters:focal(10x10:60x60)", (200, 100), "JPEG"),
    ],
)
def test_a_url_gives_the_size_and_format_that_thumbor_gives(
    get: Get, image: str, url: str, size: Size, form: str
) -> None:
    picture = open_image(get(f"/unsafe/{url.replace('{image}', image)}/{image}"))

    assert (picture.size, picture.format) == (size, form)


def test_every_filter_is_tested(request: pytest.FixtureRequest) -> None:
    source = request.path.read_text()

    assert [name for name in FILTERS if f"{name}(" not in source] == []


@pytest.fixture(scope="module")
def bordered(api: Api) -> str:
    """A red square on white, with a blue border on the right."""
    picture = Image.new("RGB", (120, 80), "white")
    picture.paste("red", (30, 20, 70, 60))
    picture.paste("blue", (110, 0, 120, 80))
    return upload(api, picture)


@pytest.fixture(scope="module")
def patch(api: Api) -> str:
    """A nine-patch: 2 px of black around, which are stretched."""
    picture = Image.new("RGBA", (12, 12))
    picture.paste((0, 0, 99, 255), (1, 1, 11, 11))
    picture.paste((0, 0, 0, 0), (3, 3, 9, 9))
    for box in ((4, 0, 8, 1), (0, 4, 1, 8), (3, 11, 9, 12), (11, 3, 12, 9)):
        picture.paste((0, 0, 0, 255), box)
    return upload(api, picture)


def upload(api: Api, picture: "Image.Image") -> str:
    data = io.BytesIO()
    picture.save(data, "PNG")
    uuid = api.upload(data.getvalue())
    api.await_end(uuid)
    return uuid


@pytest.mark.parametrize(
    ("url", "size", "place", "color"),
    [
        ("trim:top-left:10", (90, 80), (0, 40), (255, 0, 0)),
        ("trim:bottom-right:10", (110, 80), (0, 0), (255, 255, 255)),
        ("trim:10", (110, 80), (109, 79), (255, 255, 255)),
        ("filters:brightness(-20)", (120, 80), (0, 0), (204, 204, 204)),
        ("filters:rgb(0,0,20)", (120, 80), (50, 40), (255, 0, 51)),
        ("filters:contrast(-50)", (120, 80), (50, 40), (159, 96, 96)),
        ("filters:saturation(0)", (120, 80), (50, 40), (139, 139, 139)),
        ("filters:colorize(100,0,50,00ff80)", (120, 80), (0, 0), (0, 255, 192)),
        ("filters:curve([(0,255),(255,0)],[],[],[])", (120, 80), (50, 40), (0, 255, 255)),
        ("filters:convolution(0;0;0;0;-1;0;0;0;0,3)", (120, 80), (50, 40), (255, 0, 0)),
        ("filters:round_corner(30,0,255,0)", (120, 80), (0, 0), (0, 255, 0)),
        ("filters:watermark({bordered},-0,0,0,50)", (120, 80), (118, 3), (0, 0, 255)),
        ("20x80/filters:focal(30x20:70x60)", (20, 80), (10, 40), (255, 0, 0)),
        ("20x80/filters:extract_focal()/example.com/unsafe/30x20:70x60", (20, 80), (10, 40), (255, 0, 0)),
        ("debug/filters:focal(80x10:100x30)", (120, 80), (80, 20), (255, 255, 255)),
        ("debug/filters:focal(40x30:60x50)", (120, 80), (40, 40), (255, 255, 255)),
        ("fit-in/240x240/filters:fill(auto)", (240, 240), (0, 0), (233, 191, 212)),
        ("filters:grayscale()", (120, 80), (115, 40), (29, 29, 29)),
        ("filters:frame({patch})", (124, 84), (0, 0), (0, 0, 99)),
        ("filters:frame({patch})", (124, 84), (52, 42), (255, 0, 0)),
    ],
)
def test_a_filter_changes_the_pixels_as_thumbors_does(  # noqa: PLR0913, PLR0917  what is asked for, and expected
    get: Get, bordered: str, patch: str, url: str, size: Size, place: Size, color: tuple[int, int, int]
) -> None:
    path = url.format(bordered=bordered, patch=patch)
    picture = open_image(get(f"/unsafe/{path}/{bordered}")).convert("RGB")

    assert picture.size == size
    found = picture.getpixel(place)
    assert isinstance(found, tuple)
    assert max(abs(a - b) for a, b in zip(found, color, strict=True)) <= 1, found


@pytest.fixture(scope="module")
def pierced(api: Api) -> str:
    """A red image whose top left quarter is transparent, and black."""
    picture = Image.new("RGBA", (60, 40), (255, 0, 0, 255))
    picture.paste((0, 0, 0, 0), (0, 0, 30, 20))
    return upload(api, picture)


@pytest.mark.parametrize(
    ("url", "color"),
    [
        ("filters:background_color(auto)", (191, 0, 0, 255)),
        ("filters:background_color(transparent)", (0, 0, 0, 0)),
        ("filters:fill(auto)", (0, 0, 0, 0)),
        ("filters:fill(auto,true)", (191, 0, 0, 255)),
        ("fit-in/100x40/filters:fill(auto,true)", (191, 0, 0, 255)),
        ("filters:fill(blue,true)", (0, 0, 255, 255)),
        ("filters:grayscale()", (0, 0, 0, 0)),
    ],
)
def test_a_background_shows_through_what_is_transparent_as_thumbors_does(
    get: Get, pierced: str, url: str, color: tuple[int, int, int, int]
) -> None:
    picture = open_image(get(f"/unsafe/{url}/{pierced}")).convert("RGBA")

    found = picture.getpixel((picture.width // 2 - 25, 5))
    assert isinstance(found, tuple)
    assert max(abs(a - b) for a, b in zip(found, color, strict=True)) <= 1, found


def test_a_blurred_image_shows_through_its_own_transparent_parts(get: Get, pierced: str) -> None:
    plain, filled = (
        open_image(get(f"/unsafe/filters:fill({each})/{pierced}")).convert("RGBA").getpixel((5, 5))
        for each in ("blur", "blur,true")
    )

    assert plain == (0, 0, 0, 0)
    assert isinstance(filled, tuple)
    assert filled[3] > 100, filled


@pytest.mark.parametrize(("tolerance", "size"), [(0, (30, 20)), (15, (30, 20)), (20, (60, 40))])
def test_trim_measures_a_difference_of_gray_in_all_three_channels(
    get: Get, api: Api, tolerance: int, size: Size
) -> None:
    picture = Image.new("L", (60, 40), 200)
    picture.paste(190, (10, 10, 40, 30))
    gray = upload(api, picture)

    assert open_image(get(f"/unsafe/trim:top-left:{tolerance}/{gray}")).size == size


@pytest.mark.parametrize("path", ["20x20%2F", "smart%2F", "filters%3Agrayscale()/", "fit-in%2F20x20/"])
def test_an_encoded_character_is_no_part_of_the_grammar(get: Get, image: str, path: str) -> None:
    assert get(f"/unsafe/{path}{image}").status_code == 404


def test_arguments_of_filters_may_be_encoded(get: Get, image: str) -> None:
    picture = open_image(get(f"/unsafe/20x20/filters:fill(%62lue):round_corner(20%7C10,0,0,0):format(p%6Eg)/{image}"))

    assert (picture.size, picture.format) == ((20, 20), "PNG")


def test_an_image_that_cannot_be_processed_is_a_bad_request(get: Get, api: Api) -> None:
    broken = api.upload(make_photo(200, 100)[:500])
    assert api.await_end(broken)["status"] == "failed"

    assert get(f"/unsafe/20x20/{broken}").status_code == 400


@pytest.mark.parametrize("path", ["/healthcheck", "/healthcheck/"])
def test_the_health_check_of_thumbor_answers(get: Get, path: str) -> None:
    response = get(path)

    assert (response.status_code, response.text) == (200, "WORKING")
    assert response.headers["Cache-Control"] == "no-cache"


def test_meta_describes_what_would_be_done(get: Get, image: str) -> None:
    described = get(f"/unsafe/meta/10x10:110x60/-20x40/filters:focal(60x20:80x40)/{image}/cat.jpg")

    assert described.headers["Content-Type"] == "application/json"
    assert described.json() == {
        "thumbor": {
            "source": {"url": f"{image}/cat.jpg", "width": 20, "height": 40, "frameCount": 1},
            "operations": [
                {"type": "crop", "left": 10, "top": 10, "right": 110, "bottom": 60},
                {"type": "crop", "left": 48, "top": 0, "right": 73, "bottom": 50},
                {"type": "resize", "width": 20, "height": 40},
                {"type": "flip_horizontally"},
            ],
            "target": {"width": 20, "height": 40},
            "focal_points": [{"x": 60, "y": 20, "z": 400, "width": 20, "height": 20, "origin": "Explicit"}],
        }
    }


@pytest.mark.parametrize(
    ("settings", "accept", "path", "form"),
    [
        ({"auto_webp": True, "auto_avif": True}, "image/avif,image/webp,*/*", "", Format.WEBP),
        ({"auto_avif": True}, "image/avif,image/webp", "", Format.AVIF),
        ({"auto_avif": True}, "image/webp", "", Format.PNG),
        ({"auto_jpg": True}, "*/*", "", "compatible"),
        ({"auto_jpg": True, "auto_png": True}, "image/png", "", Format.PNG),
        ({"auto_webp": True}, "image/webp", "filters:format(asdf)/", Format.WEBP),
        ({"auto_webp": True}, "image/webp", "filters:format(gif):format(asdf)/", Format.WEBP),
        ({"auto_webp": True}, "image/webp", "filters:format(gif)/", Format.GIF),
        ({"auto_webp": True}, "image/webp", "filters:format(heic)/", Format.PNG),
    ],
)
def test_a_format_is_chosen_by_accept_where_the_operator_wants_it(
    settings: dict[str, bool], accept: str, path: str, form: object
) -> None:
    dialect = ThumborDialect(Thumbor.model_validate(settings), allow_unsigned=True)

    order = dialect.read(f"/thumbor/unsafe/{path}{UUID}", accept)

    assert order.lower(make_published(Format.PNG)).output.format == form
    assert order.is_negotiated == (form is not Format.GIF and "heic" not in path)


def test_filters_change_what_they_say(get: Get, image: str) -> None:
    filled = open_image(get(f"/unsafe/fit-in/300x300/filters:fill(blue):format(png)/{image}")).convert("RGB")
    assert (filled.getpixel((5, 5)), filled.getpixel((150, 295))) == ((0, 0, 255), (0, 0, 255))

    whole, turned = (open_image(get(f"/unsafe/filters:{each}format(png)/{image}")) for each in ("", "rotate(90):"))
    assert turned.tobytes() == whole.transpose(Image.Transpose.ROTATE_90).tobytes(), "counter-clockwise"
    flopped = open_image(get(f"/unsafe/-0x0/filters:format(png)/{image}"))
    assert flopped.tobytes() == whole.transpose(Image.Transpose.FLIP_LEFT_RIGHT).tobytes()


def test_an_image_is_named_with_or_without_dashes_and_with_a_file_name(get: Get, image: str) -> None:
    for name in (image, image.replace("-", ""), f"{image}/cat.jpg", f"{image.replace('-', '')}/a%20cat.jpg"):
        assert open_image(get(f"/unsafe/20x10/{name}")).size == (20, 10)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/unsafe/", 400),
        ("/neither/{image}", 400),
        ("/unsafe/meta/trim/{image}", 400),
        ("/unsafe/trim/10x/filters:proportion(0.5)/{image}", 400),
        ("/unsafe/trim/origx10/{image}", 400),
        ("/unsafe/filters:watermark(not-a-uuid,0,0,0)/{image}", 400),
        ("/unsafe/filters:watermark(00000000-0000-4000-8000-000000000000,0,0,0)/{image}", 400),
        ("/unsafe/filters:frame(00000000-0000-4000-8000-000000000000)/{image}", 400),
        ("/unsafe/filters:convolution(1;2;1;2,2)/{image}", 400),
        ("/unsafe/filters:curve([(9,0),(9,1)],[],[],[])/{image}", 400),
        ("/unsafe/filters:colorize(40,40,40,ff)/{image}", 400),
        ("/unsafe/filters:fill(nocolor)/{image}", 400),
        ("/unsafe/9000x10/{image}", 400),
        ("/unsafe/8000x8000/{image}", 400),
        ("/unsafe/example.com/cat.jpg", 404),
        ("/unsafe/00000000-0000-4000-8000-000000000000", 404),
    ],
)
def test_a_refusal_has_thumbors_status_and_no_text(get: Get, image: str, path: str, status: int) -> None:
    response = get(path.format(image=image))

    assert (response.status_code, response.content) == (status, b"")


def test_every_known_difference_from_thumbor_is_a_line_of_the_documentation() -> None:
    assert check_documented() == []


def test_every_filter_is_listed() -> None:
    assert all(f"| `{name}` | understood |" in DIALECTS.read_text() for name in FILTERS)


def test_caches_use_it_for_as_long_as_thumbor_says(get: Get, image: str) -> None:
    assert get(f"/unsafe/{image}").headers["Cache-Control"] == "public, max-age=86400"
    assert get(f"/unsafe/filters:max_age(60)/{image}").headers["Cache-Control"] == "public, max-age=60"


def test_the_same_rendition_in_two_dialects_is_made_once(platform: Platform, get: Get, image: str) -> None:
    imgproxy = requests.get(f"{platform.url}/imgproxy/_/rs:force:70:30:1/kcr:0/scp:0/plain/{image}@webp", timeout=60)
    assert imgproxy.status_code == 200

    thumbor = get(f"/unsafe/70x30/filters:stretch():format(webp):quality(79)/{image}")

    assert not is_made(thumbor)
    assert thumbor.content == imgproxy.content


VECTORS = [
    ("my-security-key", "300x200/my.server.com/some/path/to/image.jpg", "8ammJH8D-7tXy6kU3lTvoXlhu4o="),
    (
        "my-security-key",
        "10x10:200x200/300x200/filters:brightness(20):contrast(10)/my.server.com/some/path/to/image.jpg",
        "as8U2DbUUtTMgvPF26LkjS3MocY=",
    ),
    ("ACME-SEC", "smart/image.jpg", "_wIUeSaeHw8dricKG2MGhqu5thk="),
    ("ACME-SEC", "smart/alabama1_ap620%C3%A9.jpg", "lc6e3kkm_2Ww7NWho8HPOe-sqLU="),
    ("ACME-SEC", "meta/animated.gif", "oGi9XL4nHJKGEKVHjHEp1Jg1KpM="),
    ("ACME-SEC", "filters:fill(blue)/image.jpg", "5YRxzS2yxZxj9SZ50SoZ11eIdDI="),
]


@pytest.mark.parametrize(("key", "path", "signature"), VECTORS)
def test_thumbors_signatures_are_computed(key: str, path: str, signature: str) -> None:
    assert sign(key, path) == signature
    # Shorter than ours may be.
    dialect = ThumborDialect(Thumbor.model_construct(security_key=SecretStr(key)), allow_unsigned=False)
    for place, character in enumerate(signature):
        other = signature[:place] + ("A" if character != "A" else "B") + signature[place + 1 :]
        with pytest.raises(Forbidden):
            dialect.read(f"/thumbor/{other}/{path}", "")


arguments = st.one_of(
    st.integers(-(10**12), 10**12).map(str),
    st.floats(-1e6, 1e6).map(lambda number: f"{number:.3f}"),
    st.sampled_from(
        ["", "none", "center", "repeat", "-5p", "999999p", "true", "red", "ff0000", "10|0", "[(0,0),(9,9)]"]
    ),
    st.lists(st.integers(-9, 9), min_size=1, max_size=20).map(lambda numbers: ";".join(map(str, numbers))),
    st.just("0b9c0f3e-6e0e-4f3c-8f55-2f0f3f3a9d11"),
)
filters = st.builds(
    lambda name, given: f"{name}({','.join(given)})", st.sampled_from(sorted(FILTERS)), st.lists(arguments, max_size=6)
)
before = st.sampled_from(
    ["", "trim/", "trim:bottom-right:442/", "debug/", "meta/", "1x2:3x4/", "fit-in/", "adaptive-full-fit-in/"]
)
size = st.sampled_from(["", "10x20/", "0x0/", "x/", "origx5/", "-7x/", "99999x1/", "smart/", "9x9/right/bottom/smart/"])


@settings(max_examples=500, deadline=None)
@given(before, size, st.lists(filters, min_size=1, max_size=4))
def test_any_url_has_a_recipe_or_is_invalid(start: str, size: str, filters: list[str]) -> None:
    dialect = ThumborDialect(Thumbor(), allow_unsigned=True)

    with suppress(Invalid):
        order = dialect.read(f"/thumbor/unsafe/{start}{size}filters:{':'.join(filters)}/{UUID}", "")
        order.lower(make_published(Format.GIF))
        if order.describe:
            order.describe(make_published(Format.GIF))


CLIENT = CryptoURL(key="a-key-of-16-chars-or-more")
UUID = "0b9c0f3e-6e0e-4f3c-8f55-2f0f3f3a9d11"


def test_a_signed_url_is_read_and_none_that_differs_in_a_character() -> None:
    dialect = ThumborDialect(Thumbor(security_key=SecretStr("a-key-of-16-chars-or-more")), allow_unsigned=False)
    url: str = CLIENT.generate(width=300, height=200, smart=True, image_url=UUID)
    assert f"{dialect.read(f'/thumbor{url}', '').image}" == UUID
    assert dialect.read(f"/thumbor{url.replace('=', '%3D')}", "").image

    for place in range(1, len(url)):
        other = url[:place] + ("A" if url[place] != "A" else "B") + url[place + 1 :]
        with pytest.raises(Forbidden):
            dialect.read(f"/thumbor{other}", "")


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({"width": 80, "height": 60}, (80, 60)),
        ({"width": 80, "height": 60, "fit_in": True}, (80, 40)),
        ({"width": 80, "height": 60, "full_fit_in": True}, (120, 60)),
        ({"width": 30, "height": 60, "adaptive_fit_in": True}, (60, 30)),
        ({"width": 30, "height": 60, "adaptive_full_fit_in": True}, (60, 30)),
        ({"width": 80, "height": 60, "flip": True, "flop": True}, (80, 60)),
        ({"width": 80, "height": 60, "halign": "left", "valign": "top"}, (80, 60)),
        ({"width": 80, "height": 60, "smart": True}, (80, 60)),
        ({"crop": ((10, 10), (60, 50))}, (50, 40)),
        ({"width": 80, "height": 60, "filters": ["grayscale()", "quality(40)"]}, (80, 60)),
    ],
)
def test_the_python_client_works_unchanged(get: Get, image: str, options: dict[str, Any], size: Size) -> None:
    path = CLIENT.generate(unsafe=True, image_url=image, **options).lstrip("/")  # it has no slash only if unsafe

    assert open_image(get(f"/{path}")).size == size
