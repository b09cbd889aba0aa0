"""Presets that are made at run time: every URL and upload that names one gets what it stands for now."""

import io
from collections.abc import Callable, Iterator

import pytest
import requests
from PIL import Image
from service import Api, Platform, make_photo, wait_for

Get = Callable[[str], requests.Response]


@pytest.fixture(scope="module")
def get(platform: Platform) -> Get:
    return lambda rest: requests.get(f"{platform.url}/i/unsafe/{rest}", timeout=60)


@pytest.fixture(scope="module")
def image(api: Api) -> str:
    uuid = api.upload(make_photo(320, 240))
    assert api.await_end(uuid)["status"] == "succeeded"
    return uuid


@pytest.fixture
def name(api: Api) -> Iterator[str]:
    yield "card"
    api("DELETE", "/presets/card")


def save(api: Api, name: str, width: int, form: str = "webp") -> requests.Response:
    operations = [{"kind": "resize", "width": width, "fit": "inside"}]
    recipe = {"name": name, "operations": operations, "output": {"format": form}}
    return api("POST", "/presets", json={"recipe": recipe})


def describe(response: requests.Response) -> tuple[int, str | None]:
    """Return the width and the format of a picture."""
    assert response.status_code == 200, response.text
    picture = Image.open(io.BytesIO(response.content))
    return picture.width, picture.format


def test_a_preset_that_changes_is_delivered_as_it_is_now_and_never_as_it_was(
    api: Api, get: Get, image: str, name: str
) -> None:
    assert get(f"{name}/{image}").json()["code"] == "no_such_preset"

    made = save(api, name, 100)
    assert (made.status_code, made.json()["data"]["version"]) == (201, 1)
    before = get(f"{name}/{image}")
    assert describe(before) == (100, "WEBP")
    assert describe(get(f"{name}/{image}.jpg")) == (100, "JPEG")

    assert save(api, name, 60, "png").json()["data"]["version"] == 2
    after = get(f"{name}/{image}")
    assert describe(after) == (60, "PNG")
    assert after.headers["ETag"] != before.headers["ETag"]

    assert api("DELETE", f"/presets/{name}").status_code == 200
    assert get(f"{name}/{image}").json()["code"] == "no_such_preset"
    assert save(api, name, 100).json()["data"]["version"] == 4
    again = get(f"{name}/{image}")
    assert (again.content, again.headers["ETag"]) == (before.content, before.headers["ETag"])


def test_imgproxy_s_urls_name_presets_that_were_made_at_run_time(
    api: Api, platform: Platform, image: str, name: str
) -> None:
    def get(options: str) -> requests.Response:
        return requests.get(f"{platform.url}/imgproxy/_/{options}/plain/{image}", timeout=60)

    assert (get(f"pr:{name}").status_code, get(f"pr:{name}").text) == (404, "Invalid URL")
    save(api, name, 100)
    assert describe(get(f"preset:{name}")) == (100, "WEBP")
    assert describe(get(f"pr:{name}/f:png/cb:1")) == (100, "PNG")
    save(api, name, 60)

    now = get(f"pr:{name}")
    assert describe(now) == (60, "WEBP")
    assert now.headers["Cache-Control"] == "public, max-age=3600, stale-while-revalidate=86400"
    assert now.headers["Surrogate-Key"].endswith(f" preset-default-{name}")
    for refused in (f"pr:{name}/w:5", f"pr:{name}:tiny", f"pr:{name}/pr:{name}"):
        assert (get(refused).status_code, get(refused).text) == (404, "Invalid URL")


def test_versions_are_listed_newest_first(api: Api, name: str) -> None:
    for width in (10, 20):
        save(api, name, width)
    api("DELETE", f"/presets/{name}")

    versions = api("GET", f"/presets/{name}").json()["data"]

    widths = [each["recipe"] and each["recipe"]["operations"][0]["width"] for each in versions]
    assert widths[:3] == [None, 20, 10]
    assert versions[0]["createdBy"] == "anonymous"
    numbers = [each["version"] for each in versions]
    assert numbers == sorted(numbers, reverse=True)


def test_only_the_last_20_versions_are_kept(api: Api, name: str) -> None:
    for width in range(1, 26):
        assert save(api, name, width).status_code == 201

    versions = api("GET", f"/presets/{name}").json()["data"]

    assert [each["recipe"]["operations"][0]["width"] for each in versions] == list(range(25, 5, -1))


def test_uploads_use_presets_that_were_made_at_run_time(api: Api, name: str) -> None:
    save(api, name, 50)
    uuid = api.upload(make_photo(), preset=name)
    shown = wait_for(lambda: api("GET", f"/images/{uuid}").json(), lambda each: each["status"] == "succeeded")

    assert {each["name"]: each["width"] for each in shown["renditions"]}[name] == 50
    refused = api("POST", "/images/actions/upload", files={"file": ("p.jpg", make_photo())}, data={"preset": "no-such"})
    assert name in refused.json()["error"]


def test_a_preset_can_replace_a_built_in_one_until_it_is_deleted(api: Api, get: Get, image: str) -> None:
    def find() -> dict[str, object]:
        return next(each for each in api("GET", "/presets").json()["data"] if each["name"] == "square")

    assert (find()["origin"], describe(get(f"square/{image}"))) == ("built-in", (400, "JPEG"))
    save(api, "square", 30)
    try:
        assert (find()["origin"], describe(get(f"square/{image}"))) == ("tenant", (30, "WEBP"))
    finally:
        assert api("DELETE", "/presets/square").status_code == 200
    assert (find()["origin"], describe(get(f"square/{image}"))) == ("built-in", (400, "JPEG"))
    assert api("DELETE", "/presets/square").json()["code"] == "preset_not_found"


@pytest.mark.parametrize("name", ["thumbnail", "original", "Big", ""])
def test_some_names_are_no_presets(api: Api, name: str) -> None:
    response = save(api, name, 10)

    assert response.status_code == 400
    assert "recipe.name" in response.json()["error"]


def test_a_preset_lays_on_no_image_that_is_missing(api: Api) -> None:
    watermark = {"kind": "watermark", "image": "00000000-0000-4000-8000-000000000000"}
    response = api("POST", "/presets", json={"recipe": {"name": "card", "operations": [watermark]}})

    assert (response.status_code, response.json()["code"]) == (404, "watermark_not_found")
