"""imgproxy's URLs, as its clients write them."""

import base64
import io
import re
import time
from collections.abc import Callable
from uuid import UUID

import pytest
import requests
from imgproxy import ImgProxy
from PIL import Image
from published import is_made, make_published, open_image
from pydantic import SecretStr
from service import Api, Platform, make_photo

from infra.dialects import DIALECTS
from shared_lib.delivery.imgproxy import signatures
from shared_lib.delivery.imgproxy.dialect import ImgproxyDialect
from shared_lib.delivery.imgproxy.grammar import split_signature
from shared_lib.delivery.imgproxy.options import OPTIONS, PRESET
from shared_lib.delivery.order import ORIGINAL
from shared_lib.errors import Forbidden, Invalid, NotFound
from shared_lib.pipeline.formats import Format
from shared_lib.pipeline.recipe import Recipe
from shared_lib.settings import Imgproxy

Get = Callable[..., requests.Response]
LOGO = "0b54d0c4-6bb1-4a0f-8e46-1d4ac5a3d0c8"


@pytest.fixture(scope="module")
def get(platform: Platform) -> Get:
    def get(path: str, **more: str) -> requests.Response:
        return requests.get(f"{platform.url}/imgproxy{path}", headers=more, timeout=60)

    return get


@pytest.fixture(scope="module")
def image(api: Api) -> str:
    uuid = api.upload(make_photo(200, 100))
    api.await_end(uuid)
    return uuid


SIZES = [
    ("resize:fill:60:40:1", (60, 40), "JPEG"),
    ("rs:fit:50:50", (50, 25), "JPEG"),
    ("size:50:50:0:1/f:png", (50, 50), "PNG"),
    ("s:50", (50, 25), "JPEG"),
    ("rt:force/w:30/h:70", (30, 70), "JPEG"),
    ("resizing_type:auto/width:40/height:80", (40, 20), "JPEG"),
    ("min-width:150/h:10", (150, 10), "JPEG"),
    ("mw:150/mh:80/w:60/h:60", (60, 60), "JPEG"),
    ("min-height:80/w:60", (60, 80), "JPEG"),
    ("zoom:2/w:40", (80, 40), "JPEG"),
    ("z:2:3/w:40/h:20/rt:force", (80, 60), "JPEG"),
    ("dpr:2/w:40", (80, 40), "JPEG"),
    ("enlarge:1/w:400", (400, 200), "JPEG"),
    ("el:t/w:400", (400, 200), "JPEG"),
    ("extend:1/w:50/h:50", (50, 50), "JPEG"),
    ("ex:t:nowe::5/w:50/h:50", (50, 50), "JPEG"),
    ("extend_aspect_ratio:1/w:300/h:125", (240, 100), "JPEG"),
    ("extend_ar:1:no/w:300/h:125/exar:1:so", (240, 100), "JPEG"),
    ("gravity:sm/rs:fill:60:60", (60, 60), "JPEG"),
    ("g:fp:0.1:0.9/rs:fill:60:60", (60, 60), "JPEG"),
    ("crop:100:50", (100, 50), "JPEG"),
    ("c:0.5:0:soea/w:20", (20, 20), "JPEG"),
    ("padding:5/w:50", (60, 35), "JPEG"),
    ("pd:1:2:3:4/w:50", (56, 29), "JPEG"),
    ("auto_rotate:1/ar:1", (200, 100), "JPEG"),
    ("rotate:90", (100, 200), "JPEG"),
    ("rot:180/flip:1:1/fl:0:1", (200, 100), "JPEG"),
    ("background:255:0:0/bg:f00/pd:5/w:50/f:png", (60, 35), "PNG"),
    ("blur:2/bl:0", (200, 100), "JPEG"),
    ("sharpen:1/sh:0.5", (200, 100), "JPEG"),
    ("pixelate:7/pix:3", (200, 100), "JPEG"),
    ("strip_metadata:0/sm:1/keep_copyright:0/kcr:1", (200, 100), "JPEG"),
    ("strip_color_profile:0/scp:1", (200, 100), "JPEG"),
    ("quality:50/q:60", (200, 100), "JPEG"),
    ("format_quality:webp:20:jpg:30/fq:avif:40/f:webp", (200, 100), "WEBP"),
    ("max_bytes:3000/mb:2000", (200, 100), "JPEG"),
    ("format:avif/f:gif/ext:webp", (200, 100), "WEBP"),
    ("cachebuster:x/cb:y", (200, 100), "JPEG"),
    ("expires:32503669200/exp:9223372036854775807", (200, 100), "JPEG"),
    ("filename:cat/fn:ZG9n:true", (200, 100), "JPEG"),
    ("return_attachment:1/att:0", (200, 100), "JPEG"),
    ("auto_rotate:0/ar:f", (200, 100), "JPEG"),
    ("ar:0/rot:90/rs:fill:30:30:0:0:so", (30, 30), "JPEG"),
    ("trim:255:fff:1/t:255:00ff00/rs:fill-down:100:100", (100, 100), "JPEG"),
    ("t:255/rs:fit:50:50:0:1/pd:1", (52, 52), "JPEG"),
    ("t:255/c:60:0:fp:1:0/rs:force:10:20", (10, 20), "JPEG"),
    ("crop:60:40:sm", (60, 40), "JPEG"),
    ("c:60:40/g:sm/rs:fill:30:30", (30, 30), "JPEG"),
    ("watermark:0.5:re:5:5:0.1/wm:1:soea:10:0.1:0.2", (200, 100), "JPEG"),
    ("skip_processing:webp/skp:png:jpg/w:50", (200, 100), "JPEG"),
    ("skp:jpg/w:50/f:png", (50, 25), "PNG"),
    ("raw:1/w:50/f:png", (200, 100), "JPEG"),
    ("preserve_hdr:1/ph:1/enforce_thumbnail:1/eth:1", (200, 100), "JPEG"),
    ("preset:tiny/q:50", (20, 10), "WEBP"),
    ("pr:loop:tiny", (20, 10), "WEBP"),
]


@pytest.mark.parametrize(("options", "size", "form"), SIZES)
def test_an_option_gives_the_size_and_format_that_imgproxy_gives(
    get: Get, image: str, options: str, size: tuple[int, int], form: str
) -> None:
    picture = open_image(get(f"/_/{options}/plain/image://{image}"))

    assert (picture.size, picture.format) == (size, form)


def test_every_option_is_tested() -> None:
    tested = {each.partition(":")[0] for options, _, _ in SIZES for each in options.split("/")}

    assert (OPTIONS.keys() | PRESET) - tested == set()
    assert all(f"`{name}`" in DIALECTS.read_text() for name in OPTIONS)


def read_dialect(path: str, form: Format = Format.JPEG, *, is_open: bool = True, **settings: object) -> Recipe:
    """Return the recipe of a URL with these settings."""
    dialect = ImgproxyDialect(
        Imgproxy.model_validate(settings), "upload-images", lambda _: None, allow_unsigned=True, is_open=is_open
    )
    order = dialect.read(f"/imgproxy/_{path}/plain/{LOGO}", "")
    return order.lower(make_published(form))


@pytest.mark.parametrize(
    ("options", "laid"),
    [
        ("wm:0.5", {"opacity": 0.4, "gravity": "center"}),
        ("wm:1:noea:10:-5:0.5", {"gravity": "northeast", "x": 10, "y": -5, "scale": 0.5, "height": 0.5}),
        ("dpr:2/w:50/wm:1:sowe:3:0.1", {"gravity": "southwest", "x": 6, "y": 5}),
        ("wm:1:re:7:5", {"tile": True, "gaps": (7, 5)}),
        ("dpr:4/w:100/wm:1:nowe:10:10", {"x": 20, "y": 20}),
        ("dpr:4/w:100/wm:1:re:10:0.1", {"gaps": (20, 10)}),
        ("dpr:2/wm:1:nowe:10:10", {"x": 10, "y": 10}),
        ("t:10/w:50/wm:1:nowe:10:10", {"x": 10, "y": 10}),
        ("t:10/w:50/dpr:2/el:1/wm:1:nowe:10:10", {"x": 20, "y": 20}),
    ],
)
def test_the_operators_watermark_is_laid_where_the_url_says(options: str, laid: dict[str, object]) -> None:
    recipe = read_dialect(f"/{options}", watermark_url=f"image://{LOGO}", watermark_opacity=0.8)

    *_, last = recipe.operations
    assert {name: getattr(last, name) for name in laid} == laid
    assert recipe.overlays == (UUID(LOGO),)


def test_an_offset_by_a_dpr_that_may_not_be_had_is_refused_after_trim() -> None:
    with pytest.raises(Invalid, match="offset"):
        read_dialect("/t:10/w:50/dpr:2/wm:1:nowe:10:10", watermark_url=f"image://{LOGO}")


def test_an_original_is_passed_on_only_by_signed_urls_or_where_everything_is_open() -> None:
    assert read_dialect("/raw:1") is ORIGINAL
    assert read_dialect("/skp:jpg") is ORIGINAL
    assert read_dialect("/skp:jpg", Format.PNG) is not ORIGINAL
    assert read_dialect("/skp:jpg", is_open=False) is not ORIGINAL
    with pytest.raises(Forbidden):
        read_dialect("/raw:1", is_open=False)


def test_presets_of_the_operator_apply_and_can_be_all_that_is_understood() -> None:
    presets = "default=q:33,tiny=w:20/f:webp,both=pr:tiny:both/h:5"

    assert read_dialect("/w:5", presets=presets).output.quality == 33
    assert read_dialect("/pr:both", presets=presets).output.format is Format.WEBP
    assert read_dialect("/tiny:both", presets=presets, only_presets=True).output.format is Format.WEBP
    for refused in ("/tiny/w:5", "/nobody", "/tiny:nobody"):
        with pytest.raises((Invalid, NotFound)):
            read_dialect(refused, presets=presets, only_presets=True)
    with pytest.raises(Invalid):
        read_dialect("/w:5", presets="broken=w:x")


def test_what_has_no_format_of_its_own_becomes_jpeg_or_png() -> None:
    assert read_dialect("/w:5", Format.WEBP).output.format == "compatible"
    assert read_dialect("/w:5", Format.GIF).output.format is Format.GIF


def test_a_trimmed_image_is_scaled_by_its_own_size(platform: Platform, api: Api) -> None:
    picture = Image.new("RGB", (120, 80), "white")
    picture.paste("red", (30, 20, 70, 60))
    data = io.BytesIO()
    picture.save(data, "PNG")
    uuid = api.upload(data.getvalue())
    api.await_end(uuid)

    def fetch(options: str) -> "Image.Image":
        return open_image(requests.get(f"{platform.url}/imgproxy/_/{options}/plain/{uuid}", timeout=60))

    assert fetch("t:10").size == (40, 40)
    assert fetch("t:10:ffffff:1:0").size == (60, 40)
    assert fetch("t:10/w:20").size == (20, 20)


def encode(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def test_a_source_is_written_plain_or_in_base64_with_or_without_a_format(get: Get, image: str) -> None:
    source = f"image://{image}"
    encoded = encode(source)
    for written in (
        f"plain/{image}",
        f"plain/{source}",
        f"plain/image:/{image}",
        f"plain/image%3A%2F%2F{image}",
        f"plain/s3://upload-images/{image}",
        f"plain/{source}/cat.jpg",
        encoded,
        f"{encoded[:10]}/{encoded[10:]}",
        f"{encoded}==",
    ):
        assert open_image(get(f"/_/w:20/{written}")).format == "JPEG", written
    assert open_image(get(f"/_/w:20/plain/{source}@png")).format == "PNG"
    assert open_image(get(f"/_/w%3A20/f:jpg/{encoded}.webp")).format == "WEBP"


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/_", 404, "Invalid URL"),
        ("/_/w:20", 404, "Invalid URL"),
        ("/_/w:x/plain/{image}", 404, "Invalid URL"),
        ("/_/w:1:2/plain/{image}", 404, "Invalid URL"),
        ("/_/rs:cover:10/plain/{image}", 404, "Invalid URL"),
        ("/_/nonsense:1/plain/{image}", 404, "Invalid URL"),
        ("/_/brightness:10/plain/{image}", 404, "Invalid URL"),
        ("/_/ex:1:sm/plain/{image}", 404, "Invalid URL"),
        ("/_/g:sm:1:1/plain/{image}", 404, "Invalid URL"),
        ("/_/rot:45/plain/{image}", 404, "Invalid URL"),
        ("/_/q:101/plain/{image}", 404, "Invalid URL"),
        ("/_/dpr:nan/plain/{image}", 404, "Invalid URL"),
        ("/_/w:9000/el:1/plain/{image}", 404, "Invalid URL"),
        ("/_/exp:1/plain/{image}", 404, "Invalid URL"),
        ("/_/exp:9223372036854775808/plain/{image}", 404, "Invalid URL"),
        ("/_/w:20/plain/{image}@svg", 422, "Invalid URL"),
        ("/_/f:bmp/plain/{image}", 422, "Invalid URL"),
        ("/_/f:exe/plain/{image}", 404, "Invalid URL"),
        ("/_/t:10/w:30/dpr:2/pd:10/plain/{image}", 404, "Invalid URL"),
        ("/_/t:10/rs:fill:30:30/dpr:2/plain/{image}", 404, "Invalid URL"),
        ("/_/t:10/w:30/h:30/ex:1/dpr:2/plain/{image}", 404, "Invalid URL"),
        ("/_/plain/{image}@png@jpg", 404, "Invalid URL"),
        ("/_/pr:nobody/plain/{image}", 404, "Invalid URL"),
        ("/_/t:10:red/plain/{image}", 404, "Invalid URL"),
        ("/_/t:10/c:0.5:0.5/plain/{image}", 404, "Invalid URL"),
        ("/_/t:10/dpr:2/plain/{image}", 404, "Invalid URL"),
        ("/_/skp:exe/plain/{image}", 404, "Invalid URL"),
        ("/_/wm:1:xx/plain/{image}", 404, "Invalid URL"),
        ("/_/mrd:100/plain/{image}", 403, "Invalid URL"),
        ("/w:20/plain/{image}", 403, "Forbidden"),
        ("/_/plain/local:///etc/passwd", 404, "Invalid source URL"),
        ("/_/plain/http://169.254.169.254/", 404, "Invalid source URL"),
        ("/_/plain/s3://another/{image}", 404, "Invalid source URL"),
        ("/_/plain/00000000-0000-4000-8000-000000000000", 404, "Source is unreachable"),
        ("/_/rs:force:8000:8000:1/plain/{image}", 422, "Invalid source image"),
    ],
)
def test_a_refusal_has_imgproxys_status_and_text(get: Get, image: str, path: str, status: int, text: str) -> None:
    response = get(path.format(image=image))

    assert (response.status_code, response.text) == (status, text)
    assert response.headers["Content-Type"].startswith("text/plain")


def test_the_same_rendition_in_two_dialects_is_made_once(platform: Platform, get: Get, image: str) -> None:
    ours = requests.get(f"{platform.url}/i/unsafe/w=60,h=60,fit=fill,enlarge=1/{image}.png", timeout=60)

    theirs = get(f"/_/rs:force:60:60:1/sm:1/kcr:0/plain/{image}@png")

    assert not is_made(theirs)
    assert (theirs.content, theirs.headers["ETag"]) == (ours.content, ours.headers["ETag"])


def test_a_file_is_named_and_caches_are_told_how_long_it_may_be_used(get: Get, image: str) -> None:
    named = get(f"/_/fn:a%22b/att:1/w:20/plain/{image}").headers
    assert re.fullmatch(r'attachment; filename="a[^"]*b\.jpg"', named["Content-Disposition"])
    assert named["Cache-Control"] == "public, max-age=31536000"

    soon = get(f"/_/exp:{int(time.time()) + 90}/w:20/plain/{image}").headers["Cache-Control"]

    assert 0 < int(soon.removeprefix("public, max-age=")) <= 90


@pytest.mark.parametrize(
    ("option", "name"),
    [
        ("fn:caf%C3%A9", "caf%C3%A9"),
        ("fn:a%20b%22", "a b%22"),
        ("fn:Y2Fmw6k:1", "caf%C3%A9"),
        ("fn:sunset:t", "%EF%BF%BD%EF%BF%BD%EF%BF%BDz"),
    ],
)
def test_a_filename_is_decoded_once(get: Get, image: str, option: str, name: str) -> None:
    disposition = get(f"/_/{option}/w:20/plain/{image}").headers["Content-Disposition"]

    assert disposition == f'inline; filename="{name}.jpg"'


@pytest.mark.parametrize(
    ("options", "size"),
    [("w:400", (400, 200)), ("rs:fill:300:300", (300, 300)), ("w:100/dpr:3/pd:1", (306, 156)), ("w:50", (50, 25))],
)
def test_a_vector_graphic_has_any_size_without_enlarge(get: Get, api: Api, options: str, size: tuple[int, int]) -> None:
    uuid = api.upload(b'<svg xmlns="http://www.w3.org/2000/svg" width="200" height="100"/>', "drawing.svg")
    api.await_end(uuid)

    assert open_image(get(f"/_/{options}/plain/{uuid}")).size == size


def test_an_image_that_cannot_be_processed_is_an_invalid_source(get: Get, api: Api) -> None:
    broken = api.upload(make_photo(200, 100)[:500])
    assert api.await_end(broken)["status"] == "failed"

    refused = get(f"/_/w:20/plain/{broken}")

    assert (refused.status_code, refused.text) == (422, "Invalid source image")


def test_the_health_check_of_imgproxy_answers(get: Get) -> None:
    response = get("/health")

    assert (response.status_code, response.text) == (200, "imgproxy is running")
    assert response.headers["Cache-Control"] == "no-cache"


VECTORS = [
    (
        "secret",
        "hello",
        "/rs:fill:300:400:0/g:sm/aHR0cDovL2V4YW1w/bGUuY29tL2ltYWdl/cy9jdXJpb3NpdHku/anBn.png",
        "oKfUtW34Dvo2BGQehJFR4Nr0_rIjOtdtzJ3QFsUcXH8",
    ),
    ("test-key", "test-salt", "/asd", "oWaL7QoW5TsgbuiS9-5-DI8S3Ibbo1gdB2SteJh3a20"),
    ("test-key2", "test-salt2", "/asd", "jYz1UZ7j1BCdSzH3pZhaYf0iuz0vusoOTdqJsUT6WXI"),
    ("test-key", "test-salt", "/rs:fill:4:4/plain/local:///test1.png", "My9d3xq_PYpVHsPrCyww0Kh1w5KZeZhIlWhsa4az1TI"),
]
KEYS = SecretStr(b"test-key".hex() + "," + b"test-key2".hex() + "," + b"secret".hex())
SALTS = SecretStr(b"test-salt".hex() + "," + b"test-salt2".hex() + "," + b"hello".hex())


@pytest.mark.parametrize(("key", "salt", "path", "signature"), VECTORS)
def test_imgproxys_signatures_verify_and_none_that_differs_in_a_character(
    key: str, salt: str, path: str, signature: str
) -> None:
    assert signatures.sign(key.encode(), salt.encode(), path) == signature
    any_pair = signatures.Signatures(Imgproxy(key=KEYS, salt=SALTS), allow_unsigned=True)
    any_pair.check(signature, path)
    for place, character in enumerate(signature):
        with pytest.raises(Forbidden):
            any_pair.check(signature[:place] + ("A" if character != "A" else "B") + signature[place + 1 :], path)
    with pytest.raises(Forbidden):
        any_pair.check(signature, path + "x")


def test_a_signature_can_be_cut() -> None:
    cut = signatures.Signatures(Imgproxy(key=KEYS, salt=SALTS, signature_size=8), allow_unsigned=False)

    cut.check("oWaL7QoW5Ts", "/asd")
    with pytest.raises(Forbidden):
        cut.check("oWaL7QoW5TsgbuiS9-5-DI8S3Ibbo1gdB2SteJh3a20", "/asd")


def test_what_proxies_do_to_a_url_is_undone_before_its_signature_is_checked() -> None:
    assert split_signature("/s/w%3A1/plain/http:/a/b%3Ac") == ("s", "/w:1/plain/http://a/b%3Ac")


def test_nothing_unsigned_is_accepted_where_urls_have_to_be_signed(guarded: Platform, image: str) -> None:
    refused = requests.get(f"{guarded.url}/imgproxy/unsafe/plain/{image}", timeout=30)

    assert (refused.status_code, refused.text) == (403, "Forbidden")


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({"resizing_type": "fill", "width": 80, "height": 80}, (80, 80)),
        ({"resizing_type": "fit", "width": 80, "height": 80, "gravity": "soea"}, (80, 40)),
        ({"width": 400, "enlarge": True, "extension": "webp"}, (400, 200)),
        ({"resizing_type": "auto", "width": 50, "height": 40, "gravity": "sm", "advanced": ["bl:2"]}, (50, 40)),
    ],
)
def test_the_python_client_works_unchanged(
    platform: Platform, image: str, options: dict[str, object], size: tuple[int, int]
) -> None:
    url = str(ImgProxy(f"image://{image}", proxy_host=f"{platform.url}/imgproxy", **options))

    picture = open_image(requests.get(url, timeout=60))

    assert picture.size == size
    assert picture.format == ("WEBP" if "extension" in options else "JPEG")
