"""Every list can be followed by cursors, which are good for that list, its filters and its order alone."""

import base64
import json
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit
from uuid import uuid4

import pytest
from service import Api, make_photo

from shared_lib.domain.pages import Position
from shared_lib.web import cursors


@pytest.fixture(scope="module")
def collection(api: Api) -> str:
    """Make a collection of three images that have succeeded. Its name and theirs contain `followed`."""
    uuid: str = api("POST", "/collections", json={"name": "followed 1"}).json()["data"]["uuid"]
    for number in (2, 3):
        api("POST", "/collections", json={"name": f"followed {number}"})
    images = [api.upload(make_photo(), f"followed-{number}.jpg") for number in range(3)]
    for each in images:
        api.await_end(each)
    members = {"data": [{"type": "images", "uuid": each} for each in images]}
    api("POST", f"/collections/{uuid}/relationships/images", json=members)
    return uuid


@pytest.fixture(params=["images", "a collection's images", "collections"])
def path(request: pytest.FixtureRequest, collection: str) -> str:
    """Return the path and query of a list with three items."""
    return {
        "images": "/images?search=followed&include=none",
        "a collection's images": f"/collections/{collection}?sortBy=filename",
        "collections": "/collections?search=followed",
    }[request.param]


def read_items(body: Any) -> list[str]:
    items = body if isinstance(body, list) else body["data"]
    items = items if isinstance(items, list) else items["images"]
    return [each["uuid"] for each in items]


def test_the_next_link_is_a_cursor_and_tells_the_number_of_the_page(api: Api, path: str) -> None:
    everything = read_items(api("GET", path).json())
    response = api("GET", f"{path}&limit=1")
    seen, numbers = read_items(response.json()), []
    while "next" in response.links:
        url = urljoin(api.base, response.links["next"]["url"])
        query = parse_qs(urlsplit(url).query)
        assert query["after"] == [response.headers["X-Next-Cursor"]]
        numbers += query["page"]
        response = api.session.get(url, timeout=30)
        seen += read_items(response.json())
        assert (response.headers["X-Total-Count"], response.headers["X-Total-Count-Relation"]) == ("3", "eq")
        assert {"first", "prev", "last"} <= response.links.keys()

    assert (seen, numbers) == (everything, ["2", "3"])
    assert "X-Next-Cursor" not in response.headers


def test_a_body_has_the_next_cursor_too(api: Api, collection: str) -> None:
    for path, part in (("/collections?search=followed", "meta"), (f"/collections/{collection}?sort=asc", "data")):
        page = api("GET", f"{path}&limit=2").json()[part]["pagination"]
        assert (page["page"], page["totalItems"], page["totalItemsRelation"]) == (1, 3, "eq")
        last = api("GET", f"{path}&limit=2", params={"after": page["nextCursor"]}).json()
        assert len(read_items(last)) == 1
        assert last[part]["pagination"]["nextCursor"] is None


def assert_rejected(api: Api, path: str, cursor: str) -> None:
    response = api("GET", path, params={"after": cursor})
    assert response.status_code == 400, response.text
    body = response.json()
    if "errors" in body:
        [error] = body["errors"]
        assert (error["code"], error["source"]) == ("invalid_input", {"parameter": "after"})
        assert "cursor" in error["title"]
    else:
        assert (body["code"], body["details"][0]["parameter"]) == ("invalid_input", "after")
        assert "cursor" in body["error"]


def test_a_cursor_is_good_for_its_list_only(api: Api, path: str, collection: str) -> None:
    cursor = api("GET", f"{path}&limit=1").headers["X-Next-Cursor"]

    assert len(read_items(api("GET", f"{path}&limit=2", params={"after": cursor}).json())) == 2
    others = {
        f"{path}&sort=asc",
        "/images",
        "/images?search=followed&status=all",
        "/collections",
        f"/collections/{collection}",
    }
    for other in others:
        assert_rejected(api, other, cursor)


def test_a_damaged_or_invented_cursor_is_rejected(api: Api) -> None:
    cursor = api("GET", "/images?limit=1").headers["X-Next-Cursor"]
    for place in range(0, len(cursor) - 1, 5):  # the last character has bits that count for nothing
        assert_rejected(api, "/images", f"{cursor[:place]}{'A' if cursor[place] != 'A' else 'B'}{cursor[place + 1 :]}")
    for invented in ("", "x", "2", "é", cursor[:-4], cursor + cursor, base64.b64encode(b"[1, 2]").decode()):
        assert_rejected(api, "/images", invented)


@pytest.mark.parametrize(
    "content", [["not a time", "x"], ["2026-01-01T00:00:00"], {}, ["2026-01-01T00:00:00+00:00", "x"]]
)
def test_a_cursor_with_a_good_checksum_is_read_with_care(content: object) -> None:
    data = json.dumps(content).encode()
    forged = base64.urlsafe_b64encode(cursors._sum(data, "") + data).rstrip(b"=").decode()  # noqa: SLF001  forged

    with pytest.raises(ValueError, match=r".+"):
        cursors.decode(forged, "", is_timed=True)


@pytest.mark.parametrize("name", ["", "plain", "ünï\n☃🏖", "x" * 255])
def test_a_cursor_keeps_any_name(name: str) -> None:
    position = Position(name, uuid4())

    assert cursors.decode(cursors.encode(position, "f"), "f", is_timed=False) == position
