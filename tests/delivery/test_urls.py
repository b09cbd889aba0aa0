"""Our own URLs: what they deliver, to whom, and what caches are told."""

import hashlib
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import requests
from published import is_made, open_image
from service import ENVIRONMENT, ROOT, Api, Platform, make_photo, serve_function, wait_for

from shared_lib.delivery.order import Widths
from shared_lib.delivery.urls import Options, Urls
from shared_lib.errors import Forbidden
from shared_lib.runtime import Runtime

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CHROMIUM = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"
Get = Callable[..., requests.Response]


@pytest.fixture(scope="module")
def get(platform: Platform) -> Get:
    """Request an unsigned URL, by the part after its signature."""

    def get(rest: str, accept: str = "*/*", method: str = "GET", **headers: str) -> requests.Response:
        names = {name.replace("_", "-"): value for name, value in headers.items()} | {"Accept": accept}
        return requests.request(method, f"{platform.url}/i/unsafe/{rest}", headers=names, timeout=60)

    return get


@pytest.fixture(scope="module")
def image(api: Api) -> str:
    uuid = api.upload(make_photo(320, 240))
    assert api.await_end(uuid)["status"] == "succeeded"
    return uuid


@pytest.mark.parametrize(
    ("rest", "size", "form"),
    [
        ("w=160/{image}", (160, 120), "JPEG"),
        ("h=60/{image}.webp", (80, 60), "WEBP"),
        ("w=100,h=100/{image}.jpg", (100, 75), "JPEG"),
        ("w=100,h=100/{image}.jpeg", (100, 75), "JPEG"),
        ("w=100,h=100/{image}.JPG", (100, 75), "JPEG"),
        ("w=100,h=100,fit=cover/{image}.png", (100, 100), "PNG"),
        ("w=100,h=100,fit=cover,gravity=smart/{image}.avif", (100, 100), "AVIF"),
        ("w=100,h=100,fit=contain,bg=fff/{image}", (100, 100), "JPEG"),
        ("w=50,dpr=2/{image}", (100, 75), "JPEG"),
        ("w=1000/{image}", (320, 240), "JPEG"),
        ("w=640,enlarge=1/{image}", (640, 480), "JPEG"),
        ("crop=10:20:100:50/{image}", (100, 50), "JPEG"),
        ("rotate=90,w=60/{image}", (60, 80), "JPEG"),
        ("flip=hv,blur=2,sharpen=1,q=30/{image}.jpg", (320, 240), "JPEG"),
        ("small/{image}", (320, 240), "JPEG"),
        ("square/{image}.webp", (400, 400), "WEBP"),
    ],
)
def test_a_url_delivers_the_size_and_format_that_it_names(
    get: Get, image: str, rest: str, size: tuple[int, int], form: str
) -> None:
    response = get(rest.format(image=image))

    picture = open_image(response)
    assert (picture.size, picture.format) == (size, form)
    assert response.headers["Content-Type"] == f"image/{form.lower()}"


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        (CHROMIUM, "AVIF"),
        ("image/webp,image/*", "WEBP"),
        ("image/avif;q=0.5, image/webp", "WEBP"),
        ("image/avif;q=0, image/webp;q=0.1", "WEBP"),
        ("IMAGE/AVIF", "AVIF"),
        ("*/*", "JPEG"),
        ("image/*", "JPEG"),
        ("", "JPEG"),
        ("image/webp;q=x", "JPEG"),
    ],
)
def test_auto_takes_the_best_format_that_the_caller_names(get: Get, image: str, accept: str, form: str) -> None:
    get(f"w=64/{image}.avif")
    await_stored(get, f"w=64/{image}.avif")  # until then, a caller who accepts it gets another one
    response = get(f"w=64/{image}.auto", accept)

    assert open_image(response).format == form
    assert "Accept" in response.headers["Vary"]
    unchanged = get(f"w=64/{image}.auto", accept, If_None_Match=response.headers["ETag"])
    assert (unchanged.status_code, "Accept" in unchanged.headers["Vary"]) == (304, True)


@pytest.mark.parametrize(("accept", "form"), [(CHROMIUM, "WEBP"), ("image/avif", "JPEG")])
def test_nobody_waits_for_avif_where_another_format_will_do(api: Api, get: Get, accept: str, form: str) -> None:
    uuid = api.upload(make_photo(64, 64))
    api.await_end(uuid)
    get(f"w=32/{uuid}.auto", accept, method="HEAD")
    assert list_delivered(get, uuid) == [], "HEAD makes nothing"

    first = get(f"w=32/{uuid}.auto", accept)

    assert open_image(first).format == form
    assert first.headers["Cache-Control"] == "public, max-age=60"
    later = wait_for(
        lambda: get(f"w=32/{uuid}.auto", accept), lambda seen: seen.headers["ETag"] != first.headers["ETag"]
    )
    assert open_image(later).format == "AVIF"
    assert later.headers["Cache-Control"] == "public, max-age=3600, stale-while-revalidate=86400"
    assert not is_made(later)


def await_stored(get: Get, rest: str) -> requests.Response:
    """Wait until a rendition that was made is stored, and return its head."""
    return wait_for(lambda: get(rest, method="HEAD"), lambda head: head.headers["Cache-Status"].endswith("; hit"))


def list_delivered(get: Get, image: str) -> list[str]:
    """Return the formats of a small rendition that are stored."""
    forms = ("avif", "webp", "jpg")
    statuses = {each: get(f"w=32/{image}.{each}", method="HEAD").headers["Cache-Status"] for each in forms}
    return [form for form, status in statuses.items() if status.endswith("; hit")]


def test_a_format_that_the_url_names_does_not_vary(get: Get, image: str) -> None:
    assert "Accept" not in get(f"w=64/{image}.webp").headers.get("Vary", "")


def test_a_rendition_is_made_once_and_then_found(get: Get, image: str) -> None:
    first, second = get(f"w=71/{image}"), get(f"w=71/{image}")

    assert (is_made(first), is_made(second)) == (True, False)
    assert (first.content, first.headers["ETag"]) == (second.content, second.headers["ETag"])


def test_the_order_of_options_does_not_matter(get: Get, image: str) -> None:
    assert get(f"w=72,q=50/{image}.jpg").status_code == 200

    assert not is_made(get(f"q=50,w=72/{image}.jpg"))


def test_options_may_be_percent_encoded(get: Get, image: str) -> None:
    plain = get(f"w=41,h=31/{image}.png")

    encoded = get(f"w%3D41%2Ch%3D31/{image}.png")

    assert (encoded.status_code, encoded.content) == (200, plain.content)


def test_what_a_request_for_processing_made_is_not_made_again(api: Api, get: Get) -> None:
    uuid = api.upload(make_photo(), preset="web")
    api.await_end(uuid)

    response = get(f"web/{uuid}")

    assert response.headers["Cache-Status"] == "image-processing; hit"
    assert open_image(response).format == "WEBP"


def test_head_and_a_current_copy_make_nothing(get: Get, image: str, rt: Runtime) -> None:
    head = get(f"w=73/{image}.webp", method="HEAD")
    assert (head.status_code, head.headers["Content-Type"]) == (200, "image/webp")
    assert head.headers.get("Content-Length") is None, "it is not known yet"
    assert head.headers["Cache-Status"] == "image-processing; fwd=miss"

    unchanged = get(f"w=73/{image}.webp", If_None_Match=head.headers["ETag"])

    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert count_deliveries(rt, image, "w=73") == 0
    made = get(f"w=73/{image}.webp")
    assert made.headers["ETag"] == head.headers["ETag"]
    again = await_stored(get, f"w=73/{image}.webp")
    assert int(again.headers["Content-Length"]) == len(made.content)
    assert "," not in made.headers["Date"].partition(", ")[2], "one Date, which the server adds"


def count_deliveries(rt: Runtime, image: str, options: str) -> int:
    """Count the rows of an image's rendition as WebP."""
    order = rt.delivery.urls.read(options, f"{image}.webp", "any", granted=True)
    recipe = order.lower(rt.deliveries.find_image(order.image))
    with rt.database.transaction() as tx:
        return len(
            tx.rows(
                "SELECT 1 FROM deliveries WHERE image_id = :image AND recipe_hash = :recipe",
                image=image,
                recipe=recipe.hash,
            )
        )


def test_a_part_of_a_rendition_can_be_requested_whether_it_was_made_before_or_not(get: Get, image: str) -> None:
    for _ in range(2):
        part = get(f"w=74/{image}", Range="bytes=0-9")
        assert (part.status_code, len(part.content)) == (206, 10)
    assert get(f"w=74/{image}").content[:10] == part.content


def test_caches_learn_how_long_they_may_keep_a_rendition_and_by_what_names_it_is_purged(get: Get, image: str) -> None:
    plain, preset = get(f"w=32/{image}.webp").headers, get(f"small/{image}.webp").headers

    assert plain["CDN-Cache-Control"] == "max-age=3600, stale-while-revalidate=86400"
    assert plain["X-Accel-Expires"] == "60", "nginx can't purge, so it asks again soon"
    assert (plain["Surrogate-Key"], plain["Cache-Tag"]) == (f"image-{image}",) * 2
    assert plain["Cache-Groups"] == f'"image-{image}"'
    assert preset["Surrogate-Key"] == f"image-{image} preset-default-small"
    assert preset["Cache-Tag"] == f"image-{image},preset-default-small"
    assert preset["Cache-Groups"] == f'"image-{image}", "preset-default-small"'


def test_caches_keep_for_good_only_what_a_url_names_by_its_content(api: Api, get: Get) -> None:
    data = make_photo(64, 64)
    uuid = api.upload(data)
    api.await_end(uuid)
    digest = hashlib.sha256(data).hexdigest()

    assert get(f"w=32,v={digest[:12]}/{uuid}.webp").headers["Cache-Control"] == "public, max-age=31536000, immutable"
    for follows in (f"w=32/{uuid}.webp", f"w=32,v={digest[:12]}/{uuid}.auto", f"small/{uuid}"):
        assert get(follows).headers["Cache-Control"] == "public, max-age=3600, stale-while-revalidate=86400"
    other = get(f"w=32,v={'0' * 12}/{uuid}.webp")
    assert (other.status_code, other.json()["code"]) == (404, "content_not_found")


@pytest.mark.parametrize(
    ("rest", "status", "code"),
    [
        ("w=0/{image}", 400, "invalid_input"),
        ("w=9000/{image}", 400, "invalid_input"),
        ("width=10/{image}", 400, "invalid_input"),
        ("w=10,w=20/{image}", 400, "invalid_input"),
        ("w/{image}", 404, "no_such_preset"),
        ("w=10;h=5/{image}", 400, "invalid_input"),
        ("w=10/{image}.tga", 400, "invalid_input"),
        ("w=10/x", 400, "invalid_input"),
        ("w=10,gravity=2:1/{image}", 400, "invalid_input"),
        ("w=10,fit=inside,gravity=smart/{image}", 400, "invalid_input"),
        ("w=10,blur=1000/{image}", 400, "invalid_input"),
        ("q=50,lossless=1/{image}.webp", 400, "invalid_input"),
        ("w=8000,h=8000,fit=fill,enlarge=1/{image}", 422, "output_too_large"),
        ("crop=5000:5000:10:10/{image}", 422, "crop_outside"),
    ],
)
def test_a_url_that_cannot_be_served_gets_a_reason_that_caches_keep_briefly(
    get: Get, image: str, rest: str, status: int, code: str
) -> None:
    for _ in range(2):
        response = get(rest.format(image=image))

        assert (response.status_code, response.json()["code"]) == (status, code), response.text
        assert response.headers["Cache-Control"] == "public, max-age=60"
        assert "Accept" in response.headers["Vary"].split(", ")


@pytest.mark.parametrize("root", ["/i/unsafe/w=10/", "/imgproxy/_/w:10/plain/", "/thumbor/unsafe/10x0/"])
def test_caches_do_not_keep_that_an_image_is_missing_while_it_awaits_its_upload(
    platform: Platform, api: Api, root: str
) -> None:
    reserved = api("GET", "/images/actions/upload-url?extension=jpg").json()
    url = f"{platform.url}{root}{reserved['uuid']}"

    missing = requests.get(url, timeout=30)
    assert missing.status_code == 404
    assert (missing.headers["Cache-Control"], missing.headers["Retry-After"]) == ("no-store", "2")
    assert "X-Accel-Expires" not in missing.headers

    assert requests.put(reserved["presignedUrl"], make_photo(32, 32), timeout=30).status_code == 200
    assert open_image(wait_for(lambda: requests.get(url, timeout=30), lambda found: found.ok)).width == 10


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ("crop=1:2:3", "crop: must be left:top:width:height in px, such as 40:0:640:480"),
        ("bg=red", "bg: must be a color such as f80, ff8800 or ff880080"),
        ("widht=10", f"widht: is not known here. Known are {', '.join(Options.model_fields)}"),
        ("gravit=north", "gravit: is not known here. Did you mean gravity? Known are "),
        ("w=wide", "w: must be a whole number"),
        ("w=9000", "w: must be at most 8,192"),
        ("v=x", "v: must be the SHA-256 of the original in lower case, or at least its first 8 digits"),
    ],
)
def test_a_mistake_in_an_option_is_said_in_words(get: Get, image: str, options: str, error: str) -> None:
    assert get(f"{options}/{image}").json()["error"].startswith(error)


def test_a_preset_takes_options_about_the_url_and_no_others(get: Get, image: str) -> None:
    download = get(f"small,download=1/{image}")
    assert download.headers["Content-Disposition"] == f'attachment; filename="{image}.jpg"'

    assert get(f"small,w=10/{image}").json()["error"].startswith("w: can't be combined with a preset")


def test_an_original_can_be_downloaded_whole_or_in_part(api: Api, get: Get) -> None:
    data = make_photo(64, 64, "PNG")
    uuid = api.upload(data, "photo.png", "image/png")
    api.await_end(uuid)

    whole = get(f"original,download=1,v={hashlib.sha256(data).hexdigest()[:12]}/{uuid}")

    assert (whole.status_code, whole.content, whole.headers["Content-Type"]) == (200, data, "image/png")
    assert whole.headers["Content-Disposition"] == f'attachment; filename="{uuid}.png"'
    assert whole.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    part = get(f"original/{uuid}", Range="bytes=10-19", If_Range=whole.headers["ETag"])
    assert (part.status_code, part.content) == (206, data[10:20])
    assert part.headers["Content-Range"] == f"bytes 10-19/{len(data)}"
    assert get(f"original/{uuid}", If_None_Match=whole.headers["ETag"]).status_code == 304
    head = get(f"original/{uuid}", method="HEAD")
    assert (head.content, int(head.headers["Content-Length"])) == (b"", len(data))
    assert get(f"original/{uuid}.png").json()["error"].startswith("file: an original keeps its format")


def test_the_original_takes_the_place_of_a_rendition_that_is_refused(api: Api, get: Get) -> None:
    data = make_photo(64, 64)
    uuid = api.upload(data)
    api.await_end(uuid)
    too_large = "w=8000,h=8000,fit=fill,enlarge=1"

    for _ in range(2):
        response = get(f"{too_large},fallback=original/{uuid}.auto")
        assert (response.status_code, response.content) == (200, data)
        assert "Accept" in response.headers["Vary"]
        assert response.headers["Cache-Control"] == "public, max-age=60"
    assert get(f"{too_large}/{uuid}.auto").status_code == 422
    assert open_image(get(f"w=32,fallback=original/{uuid}")).size == (32, 32)


def test_an_unsigned_url_delivers_no_original_unless_callers_may_do_everything(image: str) -> None:
    urls = Urls(lambda _: None, Widths(), are_open=False)

    for options in ("original", "w=10,fallback=original"):
        with pytest.raises(Forbidden):
            urls.read(options, image, "any", granted=False)
        assert urls.read(options, image, "any", granted=True)


def test_an_upper_case_uuid_is_refused_so_that_an_image_has_one_url(get: Get, image: str) -> None:
    assert image in get(f"w=10/{image.upper()}").json()["error"]


def test_many_requests_for_a_new_rendition_make_it_once(get: Get, image: str) -> None:
    barrier = threading.Barrier(16)

    def request(_: int) -> requests.Response:
        barrier.wait()
        return get(f"w=301,blur=3/{image}.avif")

    with ThreadPoolExecutor(16) as pool:
        responses = list(pool.map(request, range(16)))

    assert {each.status_code for each in responses} == {200}
    assert len({each.content for each in responses}) == 1
    assert sum(map(is_made, responses)) == 1


def test_many_requests_to_several_processes_for_a_new_rendition_make_it_once(
    platform: Platform, get: Get, image: str
) -> None:
    with serve_function(platform, "deliver_image") as port:
        barrier = threading.Barrier(16)

        def request(number: int) -> requests.Response:
            barrier.wait()
            if number % 2:
                return requests.get(f"http://127.0.0.1:{port}/i/unsafe/w=302,blur=9/{image}.avif", timeout=60)
            return get(f"w=302,blur=9/{image}.avif")

        with ThreadPoolExecutor(16) as pool:
            responses = list(pool.map(request, range(16)))

    assert {each.status_code for each in responses} == {200}
    assert len({each.content for each in responses}) == 1
    assert sum(map(is_made, responses)) == 1


def test_a_deleted_image_is_delivered_no_more_and_leaves_nothing(api: Api, get: Get, s3: "S3Client") -> None:
    uuid = api.upload(make_photo())
    api.await_end(uuid)
    etag = get(f"w=50/{uuid}").headers["ETag"]
    await_stored(get, f"w=50/{uuid}")

    assert api("DELETE", f"/images/{uuid}").status_code == 200

    assert get(f"w=50/{uuid}").status_code == 404
    assert get(f"w=50/{uuid}", If_None_Match=etag).status_code == 404
    assert "Contents" not in s3.list_objects_v2(Bucket="completed-images", Prefix=f"{uuid}/")


@pytest.mark.parametrize(
    "url",
    ["i/unsafe/w=75/{}.webp", "imgproxy/_/w:75/plain/{}@webp", "thumbor/unsafe/75x/filters:format(webp)/{}"],
    ids=["ours", "imgproxy", "thumbor"],
)
def test_a_rendition_whose_object_is_lost_is_made_again(platform: Platform, api: Api, s3: "S3Client", url: str) -> None:
    image = api.upload(make_photo())
    api.await_end(image)

    def ask(method: str = "GET") -> requests.Response:
        return requests.request(method, f"{platform.url}/{url.format(image)}", timeout=60)

    first = ask()
    wait_for(lambda: ask("HEAD"), lambda head: head.headers["Cache-Status"].endswith("; hit"))
    for each in s3.list_objects_v2(Bucket="completed-images", Prefix=f"{image}/")["Contents"]:
        s3.delete_object(Bucket="completed-images", Key=each["Key"])

    lost, again = ask(), ask()

    assert (lost.status_code, lost.content) == (200, first.content)
    assert (again.status_code, again.content) == (200, first.content)
    api("DELETE", f"/images/{image}")  # or other tests would report its rendition as missing


def test_an_image_that_is_not_processed_yet_is_not_remembered_as_missing(api: Api, get: Get) -> None:
    uuid = api.upload(make_photo(2000, 1500))

    early = get(f"w=10/{uuid}")

    if early.status_code == 404:  # unless it was processed meanwhile
        assert (early.json()["code"], early.headers["Cache-Control"]) == ("image_pending", "no-store")
    api.await_end(uuid)
    assert get(f"w=10/{uuid}").status_code == 200


def test_no_other_function_loads_the_delivery(platform: Platform) -> None:
    program = (
        "import functions_framework, sys\n"
        "functions_framework.create_app('main', 'functions/get_rendition/main.py')\n"
        "print([each for each in sys.modules if each.startswith('shared_lib.delivery')])"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        env=ENVIRONMENT | platform.environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == "[]"
