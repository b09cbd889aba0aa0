"""Give the conformance run what it can't generate: real pictures to upload, and uuids of existing images."""

import contextlib
import copy
import os
import re
from typing import Any

import schemathesis
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from service import Api, make_photo, open_session

from shared_lib.domain.uploads import read_uuid
from shared_lib.pipeline.recipe import Recipe
from shared_lib.pipeline.recipe_schema import Recipes
from shared_lib.web.openapi import UPLOAD_TYPES
from shared_lib.web.previews import PreviewOrder
from shared_lib.web.signing import CapabilityOrder

RECIPES: TypeAdapter[Recipes | None] = TypeAdapter(Recipes | None)
RECIPE: TypeAdapter[Recipe] = TypeAdapter(Recipe)
PREVIEW: TypeAdapter[PreviewOrder] = TypeAdapter(PreviewOrder)
SESSION = open_session()
SESSION.headers["X-API-Key"] = os.environ["SERVICE_KEY"]
API = Api(os.environ["SERVICE_URL"] + "/api/v1", SESSION)

PICTURES = st.sampled_from([make_photo(40, 30, form) for form in ("JPEG", "PNG", "WEBP", "GIF")])
for media_type in UPLOAD_TYPES:
    schemathesis.openapi.media_type(media_type, PICTURES)


def is_image(uuid: Any) -> bool:
    return isinstance(uuid, str) and read_uuid(uuid) is not None


def find_image() -> str:
    """Return the uuid of a succeeded image. Upload one if the run has deleted all."""
    for image in API("GET", "/images?include=none&limit=1").json():
        return str(image["uuid"])
    return str(API.await_end(API.upload(make_photo()))["uuid"])


@schemathesis.hook
def before_load_schema(_context: schemathesis.HookContext, schema: dict[str, Any]) -> None:
    """Remove what a schema can't describe: JSON inside a form's text, the names of presets, and cursors."""
    for field in ("renditions", "preset"):
        del schema["components"]["schemas"]["UploadForm"]["properties"][field]
    for path in schema["paths"].values():
        for operation in path.values():
            operation["parameters"] = [each for each in operation["parameters"] if each["name"] != "after"]
    if "SCHEMATHESIS_EXAMPLES" not in os.environ:
        shorten_recipes(schema["components"]["schemas"])


def shorten_recipes(schemas: dict[str, Any]) -> None:
    """Leave all kinds of operations in the recipes of presets, and one kind in those of other requests.

    All kinds make 1,600 cases for each request, and are checked by the same code. `make conformance` sends them all.
    """
    brief = copy.deepcopy(schemas["Recipe"])
    order = schemas["PreviewOrder"]
    for recipe in (brief, order):
        recipe["properties"]["operations"]["items"] = {"$ref": "#/components/schemas/Resize"}
    schemas["BriefRecipe"] = brief
    [renditions, _] = schemas["ProcessingRequest"]["properties"]["renditions"]["anyOf"]
    renditions["items"] = {"$ref": "#/components/schemas/BriefRecipe"}


@schemathesis.hook.apply_to(path="/api/v1/images/actions/upload")  # type: ignore[attr-defined, untyped-decorator]  # added when it runs
def filter_body(_context: schemathesis.HookContext, body: Any) -> bool:
    """Skip bodies whose fields aren't text: a form can't send any other type."""
    return not isinstance(body, dict) or all(isinstance(value, str | bytes) for value in body.values())


def make_meaningful(body: dict[str, Any]) -> None:
    """Replace rendition requests that are well-formed but can't be carried out."""
    if isinstance(body.get("preset"), str) and len(body["preset"]) <= 64:
        body["preset"] = "web"
    try:
        RECIPES.validate_python(body.get("renditions"))
    except ValidationError as error:
        if all(mistake["type"] == "value_error" for mistake in error.errors()):
            body["renditions"] = [{"name": "hero"}]
    else:
        for recipe in body.get("renditions") or ():
            recipe["name"] = recipe["name"].replace("thumbnail", "hero")


def make_makeable(body: dict[str, Any], model: TypeAdapter[Any], plain: dict[str, Any]) -> None:
    """Replace a recipe that is well-formed but can't be carried out."""
    try:
        model.validate_python(body)
    except ValidationError as error:
        if not all(mistake["type"] == "value_error" for mistake in error.errors()):
            return
        body.clear()
        body.update(plain)


def replace_options(body: dict[str, Any]) -> None:
    """Replace a URL's options, format and capability that are well-formed but mean nothing."""
    with contextlib.suppress(ValidationError):
        CapabilityOrder.model_validate(body.get("capability"))
        body["capability"] = {"presets": ["web"]}
    if isinstance(body.get("options"), str) and 1 <= len(body["options"]) <= 512:
        body["options"] = "w=320"
    if isinstance(body.get("format"), str) and re.fullmatch("[a-z]{3,4}", body["format"]):
        body["format"] = "webp"


@schemathesis.hook
def before_call(_context: schemathesis.HookContext, case: schemathesis.Case[Any], _kwargs: dict[str, Any]) -> None:
    """Replace well-formed uuids with one of an existing image. Malformed input stays as it is."""
    if not isinstance(case.body, dict):
        return
    members = case.body.get("data", ()) if case.path.endswith("/relationships/images") else ()
    if case.path.endswith("/api-keys") and case.body.get("role") in ("viewer", "editor") and case.body.get("scopes"):
        case.body["role"] = "admin"  # a scope may be beyond another role
    if case.path.endswith("/actions/sign"):
        replace_options(case.body)
    if case.path.endswith("/preview"):
        make_makeable(case.body, PREVIEW, {"operations": [{"kind": "resize", "width": 20}]})
    recipe: Any = case.body.get("recipe")
    if case.path.endswith("/presets") and isinstance(recipe, dict):
        make_makeable(recipe, RECIPE, {"name": "hero"})
        if recipe.get("name") in ("thumbnail", "original"):
            recipe["name"] = "hero"
    bodies = [case.body] if case.path.endswith("/actions/process") else []
    for body in bodies:
        make_meaningful(body)
    parts = [*bodies, *(members if isinstance(members, list) else ())]
    named = [part for part in parts if isinstance(part, dict) and is_image(part.get("uuid"))]
    if named:
        existing = find_image()
        for part in named:
            part["uuid"] = existing
