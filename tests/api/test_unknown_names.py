"""A name that an endpoint doesn't have is refused, and the answer names the one that was meant."""

import json
from collections.abc import Iterator
from string import ascii_lowercase
from typing import Any, NamedTuple

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from service import Api, Platform, make_photo

from shared_lib.web import openapi

NOBODY = "00000000-0000-4000-8000-000000000000"
PARAMETERS = {"uuid": NOBODY, "name": "web", "preset": "web", "letter_id": "1", "key_id": "4tR9kQ2mZx"}
PHOTO = ("cat.jpg", make_photo(), "image/jpeg")


class Named(NamedTuple):
    """A name in a request: a parameter of the query, a form's field, or a field of the body at some depth."""

    method: str
    path: str
    place: str
    name: str
    siblings: frozenset[str]
    example: Any = None
    within: tuple[str | int, ...] = ()


def list_names() -> Iterator[Named]:
    document = openapi.load()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if operation["security"]:
                yield from list_names_of(method.upper(), path, operation, document["components"]["schemas"])


def list_names_of(method: str, path: str, operation: dict[str, Any], schemas: dict[str, Any]) -> Iterator[Named]:
    query = frozenset(each["name"] for each in operation["parameters"] if each["in"] == "query")
    for name in sorted(query):
        yield Named(method, path, "query", name, query)
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        schema = schemas[content["schema"]["$ref"].rpartition("/")[2]]
        fields = frozenset(schema["properties"])
        place = "form" if kind == "multipart/form-data" else "body"
        for name in sorted(fields - {"file"}):
            yield Named(method, path, place, name, fields, content.get("example"))
        for within, inner in find_objects(content.get("example"), ()):
            for name in sorted(inner):
                yield Named(method, path, place, name, frozenset(inner), content["example"], within)


def find_objects(example: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], dict[str, Any]]]:
    """Find the objects inside an example."""
    children = example.items() if isinstance(example, dict) else enumerate(example) if isinstance(example, list) else ()
    for step, child in children:
        if isinstance(child, dict):
            yield (*path, step), child
        yield from find_objects(child, (*path, step))


NAMES = list(list_names())


@st.composite
def misspellings(draw: st.DrawFn) -> tuple[Named, str]:
    """Draw a name, and a spelling with one letter more, less, or another, or with two letters swapped."""
    named = draw(st.sampled_from(NAMES))
    at = draw(st.integers(0, len(named.name) - 1))
    letter = draw(st.sampled_from(ascii_lowercase))
    before, after = named.name[:at], named.name[at:]
    swapped = before + after[1::-1] + after[2:]
    wrong = draw(st.sampled_from([before + letter + after, before + after[1:], before + letter + after[1:], swapped]))
    assume(wrong and wrong not in named.siblings)
    return named, wrong


def ask(api: Api, named: Named, wrong: str) -> Any:
    path = openapi_path(named.path)
    if named.place == "query":
        return api(named.method, path, params={wrong: "1"})
    if named.place == "form":
        return api(named.method, path, files={"file": PHOTO}, data={wrong: "x"})
    body = json.loads(json.dumps(named.example))
    target = body
    for step in named.within:
        target = target[step]
    target[wrong] = target.pop(named.name, None)
    return api(named.method, path, json=body)


def openapi_path(template: str) -> str:
    path = template.removeprefix("/api/v1")
    for name, value in PARAMETERS.items():
        path = path.replace(f"{{{name}}}", value)
    return path.replace("{erasure_id}", NOBODY)


def describe(response: Any) -> dict[str, str]:
    """Return what is wrong with each parameter, in either shape of errors."""
    body = response.json()
    if "errors" in body:
        return {each["source"]["parameter"]: each["detail"] for each in body["errors"]}
    return {each["parameter"]: each["message"] for each in body["details"] if "parameter" in each}


@settings(deadline=None)
@given(misspelled=misspellings())
def test_the_answer_to_a_name_misspelled_by_one_letter_names_the_right_one(
    api: Api, misspelled: tuple[Named, str]
) -> None:
    named, wrong = misspelled

    response = ask(api, named, wrong)

    assert response.status_code == 400, response.text
    mistakes = describe(response)
    if named.name == "kind" and named.within:  # without it, nobody knows which other names there are
        assert "kind is missing" in mistakes.values()
        return
    [message] = [text for place, text in mistakes.items() if place.rpartition(".")[2] == wrong]
    suggested, _, known = message.partition("? ")
    assert named.name in (suggested if len(named.name) > 2 else known or suggested)


def test_an_endpoint_without_parameters_says_that_it_takes_none(api: Api) -> None:
    for method, path in (("DELETE", f"/images/{NOBODY}"), ("GET", "/presets"), ("GET", "/operations/summary")):
        response = api(method, f"{path}?force=yes")

        assert response.status_code == 400
        assert describe(response) == {"force": "is not known here: leave it out"}


def test_an_upload_with_an_unknown_field_stores_nothing(api: Api) -> None:
    total = api("GET", "/images?status=all&include=none").headers["X-Total-Count"]

    field = api("POST", "/images/actions/upload", files={"file": PHOTO}, data={"desc": "A cat"})
    part = api("POST", "/images/actions/upload", files={"file": PHOTO, "files": PHOTO})

    assert field.status_code == part.status_code == 400
    assert "Did you mean description?" in describe(field)["desc"]
    assert "Did you mean file?" in describe(part)["files"]
    assert api("GET", "/images?status=all&include=none").headers["X-Total-Count"] == total


@pytest.mark.parametrize("path", ["/", "/ops/", "/api-docs/", "/openapi.json", "/api/health", "/api/health/live"])
def test_pages_and_probes_ignore_what_others_add_to_their_address(api: Api, platform: Platform, path: str) -> None:
    assert api.session.get(f"{platform.url}{path}?utm_source=mail", timeout=30).status_code == 200


def test_urls_of_images_ignore_parameters(api: Api, platform: Platform) -> None:
    uuid = api.upload(make_photo())
    api.await_end(uuid)

    for path in (
        f"/api/v1/images/{uuid}/renditions/thumbnail",
        f"/i/unsafe/w=20/{uuid}.webp",
        f"/imgproxy/unsafe/rs:fit:20/plain/{uuid}@webp",
    ):
        assert api.session.get(f"{platform.url}{path}?v=2", timeout=30).status_code == 200, path


@settings(deadline=None)
@given(name=st.text(max_size=300), count=st.integers(1, 40))
def test_any_unknown_name_is_refused_with_names_that_are_known(api: Api, name: str, count: int) -> None:
    assume(name not in {"uuid", "filename", "description", "renditions", "preset"})

    response = api("POST", "/images/actions/process", json={"uuid": NOBODY} | {f"{name}{i}": 1 for i in range(count)})

    assert response.status_code == 400
    assert "renditions, preset, uuid, filename, description" in next(iter(describe(response).values()))
