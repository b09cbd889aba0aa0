"""Requesting renditions, and downloading them."""

import base64
import io
import json
import tracemalloc
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import psutil
import pytest
from flask.testing import FlaskClient
from PIL import Image
from service import ROOT, WHOLE, Api, make_photo, wait_for

from shared_lib.errors import FailureCode
from shared_lib.pipeline.recipe_schema import read_recipe
from shared_lib.runtime import Runtime

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PHOTOGRAPHS = ROOT / "tests" / "golden" / "photographs"
RESIZE = {"kind": "resize", "width": 60, "height": 40}
HERO = {"name": "hero", "operations": [RESIZE], "output": {"format": "webp"}}


@pytest.fixture(scope="module")
def image(api: Api) -> str:
    """Upload an image, and return its uuid once it has succeeded."""
    uuid = api.upload(make_photo(), renditions=WHOLE)
    assert api.await_end(uuid)["status"] == "succeeded"
    return uuid


def request_processing(api: Api, uuid: str, **body: Any) -> Any:
    return api("POST", "/images/actions/process", json={"uuid": uuid, "filename": "photo.jpg", **body})


def await_renditions(api: Api, uuid: str) -> dict[str, Any]:
    """Return the image once no rendition is pending."""
    shown: dict[str, Any] = wait_for(
        lambda: api("GET", f"/images/{uuid}").json(),
        lambda image: image.get("status") == "succeeded" and not image["pendingRenditions"],
    )
    return shown


@pytest.mark.parametrize("fields", [{"renditions": json.dumps([HERO])}, {"preset": "web"}])
def test_an_upload_gets_the_renditions_that_it_requests(api: Api, fields: dict[str, str]) -> None:
    uuid = api.upload(make_photo(), **fields)

    shown = api.await_end(uuid)

    made = {each["name"]: each["contentType"] for each in shown["renditions"]}
    assert made == {"hero" if "renditions" in fields else "web": "image/webp", "thumbnail": "image/jpeg"}
    assert shown["imageData"].startswith("data:image/jpeg;")


def test_further_renditions_can_be_requested_at_any_time(api: Api, image: str) -> None:
    assert request_processing(api, image, renditions=[HERO]).json() == {"message": "Processing started"}
    hero = next(each for each in await_renditions(api, image)["renditions"] if each["name"] == "hero")
    assert (hero["width"], hero["height"]) == (60, 40)

    again = request_processing(api, image, renditions=[HERO])
    assert again.status_code == 200
    assert api("GET", f"/images/{image}").json()["pendingRenditions"] == [], "an existing rendition is not made again"

    without_a_name = api("POST", "/images/actions/process", json={"uuid": image, "preset": "small"})
    assert without_a_name.status_code == 200
    assert api("GET", f"/images/{image}").json()["filename"] == "photo.jpg", "a request without a filename keeps it"
    assert {each["name"] for each in await_renditions(api, image)["renditions"]} >= {"hero", "small", "thumbnail"}


def test_a_rendition_is_served_at_its_url(api: Api, image: str) -> None:
    (thumbnail,) = [each for each in api("GET", f"/images/{image}").json()["renditions"] if each["name"] == "thumbnail"]
    host = api.base.removesuffix("/api/v1")

    response = api.session.get(host + thumbnail["url"])

    assert (response.status_code, response.headers["Content-Type"]) == (200, "image/jpeg")
    assert len(response.content) == thumbnail["sizeBytes"]
    assert Image.open(io.BytesIO(response.content)).size == (100, 100)
    unchanged = api.session.get(host + thumbnail["url"], headers={"If-None-Match": response.headers["ETag"]})
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    another = api.session.get(host + thumbnail["url"], headers={"If-Match": '"another"'})
    assert (another.status_code, another.json()["code"]) == (412, "precondition_failed")


def test_a_thumbnail_needs_no_object(api: Api, s3: "S3Client") -> None:
    shown = api.await_end(api.upload(make_photo()))

    assert s3.list_objects_v2(Bucket="completed-images", Prefix=f"{shown['uuid']}/")["KeyCount"] == 0
    served = api("GET", f"/images/{shown['uuid']}/renditions/thumbnail")
    assert base64.b64encode(served.content).decode() == shown["imageData"].rpartition(",")[2]
    listed = api("GET", f"/images/{shown['uuid']}/privacy").json()
    assert [each["key"].partition("/")[0] for each in listed["objects"]] == ["originals"]


def test_head_and_revalidation_do_not_read_the_object(api: Api, s3: "S3Client") -> None:
    shown = api.await_end(api.upload(make_photo(), renditions=WHOLE))
    path = f"/images/{shown['uuid']}/renditions/whole"
    whole = api("GET", path)
    [stored] = s3.list_objects_v2(Bucket="completed-images", Prefix=f"{shown['uuid']}/")["Contents"]
    s3.delete_object(Bucket="completed-images", Key=stored["Key"])

    head, unchanged = api("HEAD", path), api("GET", path, headers={"If-None-Match": whole.headers["ETag"]})

    assert (head.status_code, head.content) == (200, b"")
    for name in ("Content-Type", "Content-Length", "ETag", "Cache-Control"):
        assert head.headers[name] == whole.headers[name]
    assert (unchanged.status_code, unchanged.headers["ETag"]) == (304, whole.headers["ETag"])
    assert whole.headers["Content-Disposition"] == f'inline; filename="{path.split("/")[2]}-whole.jpeg"'
    assert whole.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert (api("GET", path).status_code, api("GET", path).json()["code"]) == (404, "rendition_not_found")
    api("DELETE", f"/images/{shown['uuid']}")  # or other tests would report its object as missing


@pytest.mark.parametrize(
    ("requested", "status", "first", "last"),
    [
        ("bytes=0-9", 206, 0, 9),
        ("bytes=100-", 206, 100, None),
        ("bytes=-20", 206, -20, None),
        ("bytes=5-1000000", 206, 5, None),
        ("bytes=0-0,5-9", 200, 0, None),
        ("lines=1-2", 200, 0, None),
        ("bytes=9-1", 200, 0, None),
        ("bytes=1000000-", 416, None, None),
    ],
)
@pytest.mark.parametrize("name", ["thumbnail", "whole"])
def test_a_range_request_returns_that_part_of_a_rendition(  # noqa: PLR0913, PLR0917  the table's columns
    api: Api, image: str, name: str, requested: str, status: int, first: int | None, last: int | None
) -> None:
    path = f"/images/{image}/renditions/{name}"
    whole = api("GET", path)
    size = len(whole.content)

    part = api("GET", path, headers={"Range": requested})

    assert (part.status_code, whole.headers["Accept-Ranges"]) == (status, "bytes")
    if first is None:
        assert part.headers["Content-Range"] == f"bytes */{size}"
        assert part.json()["code"] == "requested_range_not_satisfiable"
        return
    expected = whole.content[first : None if last is None else last + 1]
    assert part.content == expected
    assert part.headers["Content-Length"] == str(len(expected))
    if status == 206:
        begin = first % size
        assert part.headers["Content-Range"] == f"bytes {begin}-{begin + len(expected) - 1}/{size}"
        assert part.headers["ETag"] == whole.headers["ETag"]


def test_if_range_with_another_etag_returns_the_whole_rendition(api: Api, image: str) -> None:
    path = f"/images/{image}/renditions/thumbnail"
    whole = api("GET", path)

    same = api("GET", path, headers={"Range": "bytes=0-9", "If-Range": whole.headers["ETag"]})
    another = api("GET", path, headers={"Range": "bytes=0-9", "If-Range": '"another"'})
    head = api("HEAD", path, headers={"Range": "bytes=0-9"})

    assert (same.status_code, same.content) == (206, whole.content[:10])
    assert (another.status_code, another.content) == (200, whole.content)
    assert (head.status_code, head.headers["Content-Length"]) == (200, whole.headers["Content-Length"])


@pytest.mark.parametrize(("condition", "current", "another"), [("If-Match", 206, 412), ("If-None-Match", 304, 206)])
def test_a_condition_is_checked_before_a_range(
    api: Api, image: str, condition: str, current: int, another: int
) -> None:
    path = f"/images/{image}/renditions/thumbnail"
    etag = api("GET", path).headers["ETag"]

    for value, expected in ((etag, current), ("*", current), (f'"other", {etag}', current), ('"other"', another)):
        response = api("GET", path, headers={"Range": "bytes=0-9", condition: value})
        assert response.status_code == expected, value


def test_a_pending_rendition_has_another_error_code_than_an_unknown_one(
    rt: Runtime, load: Callable[[str], FlaskClient]
) -> None:
    uuid = uuid4()
    rt.images.create(uuid, "waiting.jpg", None, 0, [read_recipe({"name": "requested"})])
    client = load("get_rendition")

    for name, code in (
        ("thumbnail", "rendition_pending"),
        ("requested", "rendition_pending"),
        ("other", "rendition_not_found"),
    ):
        response = client.get(f"/api/v1/images/{uuid}/renditions/{name}")
        assert (response.status_code, response.json["code"]) == (404, code)  # type: ignore[index]
        assert ("Retry-After" in response.headers) == (code == "rendition_pending")
    rt.images.give_up(uuid, FailureCode.UPLOAD_MISSING, "for the test")
    for name in ("thumbnail", "requested"):
        assert client.get(f"/api/v1/images/{uuid}/renditions/{name}").json["code"] == "rendition_not_found"  # type: ignore[index]


@pytest.fixture(scope="module")
def large(api: Api) -> dict[str, Any]:
    """Make a rendition of 30 MiB, and return its object."""
    uuid = api.upload(make_photo(3600, 3600), renditions=json.dumps([{"name": "large", "output": {"format": "png"}}]))
    made: dict[str, dict[str, Any]] = {each["name"]: each for each in api.await_end(uuid)["renditions"]}
    return made["large"]


def test_a_large_rendition_is_streamed_in_little_memory(
    load: Callable[[str], FlaskClient], large: dict[str, Any]
) -> None:
    client = load("get_rendition")
    client.get(large["url"], buffered=False).close()  # loads modules
    tracemalloc.start()
    try:
        response = client.get(large["url"], buffered=False)
        size = sum(map(len, response.iter_encoded()))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert size == response.content_length == large["sizeBytes"] > 20 * 2**20
    assert peak < 2 * 2**20


def test_a_caller_that_disconnects_frees_the_connection_to_the_store(
    load: Callable[[str], FlaskClient], s3: "S3Client", large: dict[str, Any]
) -> None:
    client, store = load("get_rendition"), int(s3.meta.endpoint_url.rpartition(":")[2])

    def connections() -> int:
        return sum(each.raddr[1:] == (store,) for each in psutil.Process().net_connections() if each.raddr)

    with client.get(large["url"], buffered=False) as response:
        assert next(response.iter_encoded())
        while_read = connections()

    assert connections() == while_read - 1


@pytest.mark.parametrize("path", [f"{UUID(int=0)}/renditions/thumbnail", "{image}/renditions/nothing"])
def test_an_unknown_rendition_is_404(api: Api, image: str, path: str) -> None:
    response = api("GET", f"/images/{path.format(image=image)}")

    assert (response.status_code, response.json()["code"]) == (404, "rendition_not_found")


def made_by(*operations: dict[str, Any]) -> dict[str, Any]:
    return {"renditions": [{"name": "x", "operations": operations}]}


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        (
            {"renditions": [{"name": "x", "operations": [RESIZE, {"kind": "resize", "width": 0}]}]},
            "renditions.0.operations.1.width",
        ),
        (
            {"renditions": [{"name": "x", "operations": [{"kind": "resize", "widht": 5}]}]},
            "renditions.0.operations.0.widht",
        ),
        ({"renditions": [{"name": "x", "operations": [{"kind": "explode"}]}]}, "renditions.0.operations.0"),
        ({"renditions": [{"name": "x", "output": {"format": "png", "quality": 3}}]}, "renditions.0.output"),
        ({"renditions": [{"operations": []}]}, "renditions.0.name"),
        ({"renditions": [{"name": "x"}, {"name": "x"}]}, "renditions"),
        ({"renditions": [{"name": "thumbnail"}]}, "renditions.0.name"),
        ({"renditions": [{"name": f"n{n}"} for n in range(21)]}, "renditions"),
        ({"renditions": "all"}, "renditions"),
        ({"preset": "nothing-like-it"}, "preset"),
        ({"preset": "web", "renditions": [{"name": "x"}]}, "body"),
    ],
)
def test_an_invalid_request_names_the_path_of_each_mistake(
    api: Api, image: str, body: dict[str, Any], parameter: str
) -> None:
    response = request_processing(api, image, **body)

    assert response.status_code == 400, response.text
    assert parameter in [each["parameter"] for each in response.json()["details"]], response.text


@pytest.mark.parametrize(
    ("field", "parameter"),
    [
        ("[{]", "renditions"),
        (
            json.dumps([{"name": "x", "operations": [{"kind": "resize", "width": 0}]}]),
            "renditions.0.operations.0.width",
        ),
    ],
)
def test_an_invalid_recipe_in_a_form_names_the_path_of_the_mistake(api: Api, field: str, parameter: str) -> None:
    response = api(
        "POST",
        "/images/actions/upload",
        files={"file": ("a.jpg", make_photo(), "image/jpeg")},
        data={"renditions": field},
    )

    assert response.status_code == 400, response.text
    assert [each["parameter"] for each in response.json()["details"]] == [parameter]


def test_only_a_processed_image_can_be_a_watermark(api: Api, image: str) -> None:
    def mark(uuid: str) -> dict[str, Any]:
        return {"name": "signed", "operations": [{"kind": "watermark", "image": uuid, "gravity": "center"}]}

    missing = request_processing(api, image, renditions=[mark(unknown := str(uuid4()))])
    assert (missing.status_code, missing.json()["code"]) == (404, "watermark_not_found")
    assert unknown in missing.json()["error"]

    assert request_processing(api, image, renditions=[mark(image)]).status_code == 200
    assert "signed" in [each["name"] for each in await_renditions(api, image)["renditions"]]


def test_an_image_shows_its_metadata(api: Api) -> None:
    with io.BytesIO() as file:
        exif = Image.Exif()
        exif[0x010F], exif[0x0110] = "Acme", "Box 1"
        exif[0x8825] = {1: "N", 2: (48.0, 12.0, 0.0), 3: "E", 4: (16.0, 22.0, 0.0)}
        Image.new("RGB", (90, 60), (200, 30, 40)).save(file, "JPEG", exif=exif)
        uuid = api.upload(file.getvalue())

    shown = api.await_end(uuid)
    metadata = shown["metadata"]

    assert (metadata["frames"], metadata["hasAlpha"], metadata["colorSpace"]) == (1, False, "srgb")
    assert (metadata["cameraMake"], metadata["cameraModel"]) == ("Acme", "Box 1")
    assert metadata["dominantColor"].startswith("#c")
    assert metadata["thumbHash"]
    assert metadata["blurHash"]
    assert len(shown["sha256"]) == 64
    located = api("GET", f"/images/{uuid}?include=location").json()
    assert metadata["location"] is located["metadata"]["location"] is None, "the operator does not keep locations"


def test_a_fully_transparent_image_has_no_colors(api: Api) -> None:
    with io.BytesIO() as file:
        Image.new("RGBA", (90, 60)).save(file, "PNG")
        metadata = api.await_end(api.upload(file.getvalue()))["metadata"]

    assert (metadata["palette"], metadata["dominantColor"]) == ([], None)


def test_similar_images_are_found_closest_first(api: Api) -> None:
    photo, stranger = (PHOTOGRAPHS / "coffee.jpg").read_bytes(), (PHOTOGRAPHS / "rocket.jpg").read_bytes()
    with Image.open(io.BytesIO(photo)) as picture, io.BytesIO() as file:
        picture.resize((200, 133)).save(file, "WEBP", quality=60)
        uuids = [api.upload(photo), api.upload(photo), api.upload(file.getvalue(), "small.webp", "image/webp")]
    other = api.upload(stranger)
    for uuid in (*uuids, other):
        api.await_end(uuid)

    similar = api("GET", f"/images/{uuids[0]}/similar?limit=100").json()

    distances = [each["distance"] for each in similar]
    assert distances == sorted(distances)
    assert {each["uuid"] for each in similar} >= set(uuids[1:])
    assert {uuids[0], other}.isdisjoint(each["uuid"] for each in similar)
    assert similar[0]["distance"] == 0
    assert api("GET", f"/images/{uuid4()}/similar").status_code == 404
    assert api("GET", f"/images/{uuids[0]}/similar?distance=12").status_code == 400
