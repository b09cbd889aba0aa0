"""Trying recipes out: the rendition comes back, and nothing is stored."""

import io
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest
import requests
from flask.testing import FlaskClient
from PIL import Image
from service import Api, make_photo, wait_for

from shared_lib.runtime import Runtime

RESIZE = {"kind": "resize", "width": 60, "height": 40}
SOON = {"operations": [RESIZE], "output": {"format": "webp"}}


@pytest.fixture(scope="module")
def image(api: Api) -> str:
    uuid = api.upload(make_photo())
    assert api.await_end(uuid)["status"] == "succeeded"
    return uuid


def preview(api: Api, uuid: str, recipe: Any) -> requests.Response:
    return api("POST", f"/images/{uuid}/preview", json=recipe)


def test_a_preview_is_the_rendition_that_the_recipe_makes_and_nothing_is_stored(api: Api, image: str, s3: Any) -> None:
    def count_objects() -> int:
        count: int = s3.list_objects_v2(Bucket="completed-images", Prefix=f"{image}/")["KeyCount"]
        return count

    before = api("GET", f"/images/{image}").json(), count_objects()
    response = preview(api, image, SOON)

    assert (response.status_code, response.headers["Content-Type"]) == (200, "image/webp")
    assert Image.open(io.BytesIO(response.content)).size == (60, 40)
    assert re.fullmatch(r"render;dur=\d+\.\d", response.headers["Server-Timing"])
    assert response.headers["Cache-Control"] == "no-store"
    assert (api("GET", f"/images/{image}").json(), count_objects()) == before

    api("POST", "/images/actions/process", json={"uuid": image, "renditions": [{"name": "kept", **SOON}]})
    wait_for(lambda: api("GET", f"/images/{image}").json()["pendingRenditions"], lambda pending: not pending)
    assert api("GET", f"/images/{image}/renditions/kept").content == response.content


def test_an_empty_recipe_encodes_the_image_anew(api: Api, image: str) -> None:
    response = preview(api, image, {})

    assert Image.open(io.BytesIO(response.content)).size == (320, 240)


def test_recipes_with_earlier_spellings_can_be_tried_out(api: Api, image: str) -> None:
    former = {"operations": [{"kind": "crop_to_ratio", "width": 1, "height": 1, "gravity": "centre"}]}

    assert Image.open(io.BytesIO(preview(api, image, former).content)).size == (240, 240)


@pytest.mark.parametrize(
    ("recipe", "status", "parameter"),
    [
        ({"operations": [{"kind": "resize"}]}, 400, "operations.0"),
        ({"operations": [RESIZE | {"width": 0}]}, 400, "operations.0.width"),
        ({"operations": [{"kind": "rezise"}]}, 400, "operations.0"),
        ({"operations": [RESIZE] * 21}, 400, "operations"),
        ({"output": {"format": "bmp"}}, 400, "output.format"),
        ({"operations": [{"kind": "trim"}], "output": {"animation": "keep"}}, 400, "body"),
        ({"name": "mine"}, 400, "name"),
        ({"operations": [{"kind": "watermark", "image": f"{UUID(int=0)}"}]}, 404, None),
        ({"operations": [{"kind": "resize", "width": 8000, "height": 8000}]}, 422, None),
    ],
    ids=str,
)
def test_a_recipe_that_cannot_be_made_says_why(
    api: Api, image: str, recipe: Any, status: int, parameter: str | None
) -> None:
    response = preview(api, image, recipe)

    assert response.status_code == status, response.text
    if parameter:
        assert [each["parameter"] for each in response.json()["details"]] == [parameter]


def test_only_a_processed_image_can_be_tried_on(api: Api, rt: Runtime, load: Callable[[str], FlaskClient]) -> None:
    pending = uuid4()
    rt.images.create(pending, "pending.jpg", None, 1)
    client = load("preview_image")

    for uuid, code in ((pending, "image_pending"), (uuid4(), "image_not_found")):
        response = client.post(f"/api/v1/images/{uuid}/preview", json=SOON)
        assert (response.status_code, response.json and response.json["code"]) == (404, code)
    rt.images.delete(pending)


def test_many_at_once_wait_for_their_turn_or_are_refused_at_once(api: Api, image: str) -> None:
    with ThreadPoolExecutor(12) as pool:
        answers = [*pool.map(lambda _: preview(api, image, SOON), range(12))]

    assert {each.status_code for each in answers} <= {200, 429}
    assert sum(each.status_code == 200 for each in answers) >= 4
    assert len({each.content for each in answers if each.status_code == 200}) == 1
