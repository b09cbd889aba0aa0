"""What the conformance run cannot know: real pictures to upload, and images that exist to speak about."""

import os
from typing import Any

import requests
import schemathesis
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from service import Api, make_photo

from shared_lib.domain.uploads import StoredObject
from shared_lib.pipeline.recipe_schema import Recipes
from shared_lib.web.openapi import UPLOAD_TYPES

RECIPES: TypeAdapter[Recipes | None] = TypeAdapter(Recipes | None)
API = Api(os.environ["SERVICE_URL"] + "/api/v1", requests.Session())

PICTURES = st.sampled_from([make_photo(40, 30, form) for form in ("JPEG", "PNG", "WEBP", "GIF")])
for media_type in UPLOAD_TYPES:
    schemathesis.openapi.media_type(media_type, PICTURES)


def find_image() -> str:
    """The uuid of a succeeded image; the run itself may have deleted all that there were."""
    for image in API("GET", "/images?include=none&limit=1").json():
        return str(image["uuid"])
    return str(API.await_end(API.upload(make_photo()))["uuid"])


@schemathesis.hook
def before_load_schema(_context: schemathesis.HookContext, schema: dict[str, Any]) -> None:
    """What JSON the text of a form's field holds, and which presets there are, is nothing that a schema can tell."""
    for field in ("renditions", "preset"):
        del schema["components"]["schemas"]["UploadForm"]["properties"][field]


@schemathesis.hook.apply_to(path="/api/v1/images/actions/upload")  # type: ignore[attr-defined, untyped-decorator]  # added when it runs
def filter_body(_context: schemathesis.HookContext, body: Any) -> bool:
    """On the wire a form's field is text: there is no way to send another type, and so none to refuse it."""
    return not isinstance(body, dict) or all(isinstance(value, str | bytes) for value in body.values())


def make_sense(order: dict[str, Any]) -> None:
    """Where an order of renditions is well-formed, and yet means nothing, put one that does."""
    if isinstance(order.get("preset"), str) and len(order["preset"]) <= 64:
        order["preset"] = "web"
    try:
        RECIPES.validate_python(order.get("renditions"))
    except ValidationError as error:
        if all(mistake["type"] == "value_error" for mistake in error.errors()):
            order["renditions"] = [{"name": "hero"}]
    else:
        for recipe in order.get("renditions") or ():
            recipe["name"] = recipe["name"].replace("thumbnail", "hero")


@schemathesis.hook
def before_call(_context: schemathesis.HookContext, case: schemathesis.Case[Any], _kwargs: dict[str, Any]) -> None:
    """In the place of a well-formed uuid that no image has, one that an image has; malformed input stays as it is."""
    if not isinstance(case.body, dict):
        return
    members = case.body.get("data", ()) if case.path.endswith("/relationships/images") else ()
    order = [case.body] if case.path.endswith("/actions/process") else []
    for body in order:
        make_sense(body)
    for part in [*order, *(members if isinstance(members, list) else ())]:
        if isinstance(part, dict) and isinstance(part.get("uuid"), str) and StoredObject.name_image(part["uuid"]):
            part["uuid"] = find_image()
