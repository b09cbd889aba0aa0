"""The functions' declarations agree with their folders, with each other and with OpenAPI."""

import inspect
import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from infra.functions import list_functions
from infra.schemas import DIALECT
from shared_lib import consumer, errors, web
from shared_lib.runtime import Runtime
from shared_lib.web.errors import STATUS

FUNCTIONS = list_functions()
ENDPOINTS = [each.endpoint for each in FUNCTIONS if each.endpoint]
DELIVERING = {"deliver_image", "deliver_imgproxy", "deliver_thumbor"}
PATHS = web.openapi.load()["paths"]
OPERATIONS = [operation for methods in PATHS.values() for operation in methods.values()]
SCHEMAS = web.openapi.load()["components"]


def test_every_function_declares_the_name_of_its_folder() -> None:
    assert [each.declared_name for each in FUNCTIONS] == [each.folder for each in FUNCTIONS]


def test_every_endpoint_declares_who_may_use_it() -> None:
    assert {each.name for each in ENDPOINTS if each.is_embeddable} == {"get_rendition"} | DELIVERING
    assert {each.name for each in ENDPOINTS if each.is_private} == {"report_state"}
    assert {each.name for each in ENDPOINTS if each.needs == "nothing"} == {
        "get_health",
        "serve_api_docs",
        "report_state",
        "serve_gallery",
    } | DELIVERING


def test_a_function_that_does_not_say_what_it_needs_does_not_load() -> None:
    declared = vars(ENDPOINTS[0])

    with pytest.raises(TypeError, match="needs"):
        web.Endpoint(**{name: value for name, value in declared.items() if name != "needs"})
    with pytest.raises(ValueError, match="images:red"):
        web.Endpoint(**declared | {"needs": "images:red"})


def test_only_renditions_and_originals_may_be_cached() -> None:
    assert {each.name: each.cache for each in ENDPOINTS if each.cache is not web.Cache.NO_STORE} == {
        "get_rendition": web.Cache.REVALIDATE,
        "get_original": web.Cache.REVALIDATE,
    } | dict.fromkeys(DELIVERING, web.Cache.BY_URL)


def test_a_handler_that_does_not_take_the_declared_inputs_fails_to_load() -> None:
    endpoint = web.Endpoint(
        name="echo",
        route=web.Route("GET", "/echo/{word}"),
        docs=web.Docs(tag="service", summary=""),
        inputs=web.Inputs(path={"word": str}),
        success=web.Success(str),
        errors=web.Errors(web.ImageError),
        needs="nothing",
    )

    def takes_nothing(_rt: Runtime) -> str:
        return ""

    with pytest.raises(TypeError, match="word"):
        web.serve(endpoint)(takes_nothing)


def _kinds_of_errors() -> Iterator[type[errors.ServiceError]]:
    for _, kind in inspect.getmembers(errors, inspect.isclass):
        if issubclass(kind, errors.ServiceError) and kind is not errors.ServiceError:
            yield kind


@pytest.mark.parametrize("table", [STATUS, consumer.STATUS], ids=["http", "events"])
def test_every_kind_of_error_has_a_status(table: dict[type[errors.ServiceError], int]) -> None:
    kinds = set(_kinds_of_errors())

    assert [kind.__name__ for kind in kinds if not any(each in table for each in kind.__mro__)] == []
    assert [kind.__name__ for kind in table if kind not in kinds] == []


def test_every_operation_has_a_summary_of_its_own() -> None:
    summaries = [each["summary"] for each in OPERATIONS]

    assert len(set(summaries)) == len(summaries)
    assert [each for each in summaries if not each[0].isupper() or each.endswith(".")] == []


def test_public_descriptions_name_no_internal_function() -> None:
    shown = json.dumps([{**each, "operationId": None} for each in OPERATIONS] + [SCHEMAS])

    assert [each.folder for each in FUNCTIONS if each.folder in shown] == []


def _schemas_with_defaults(part: Any) -> Iterator[dict[str, Any]]:
    if isinstance(part, dict):
        if "default" in part and {"type", "anyOf", "$ref", "const", "oneOf"} & part.keys():
            yield part
        part = list(part.values())
    if isinstance(part, list):
        for each in part:
            yield from _schemas_with_defaults(each)


def test_every_default_is_valid_by_its_own_schema() -> None:
    found = [*_schemas_with_defaults(PATHS), *_schemas_with_defaults(SCHEMAS)]
    assert found
    for schema in found:
        jsonschema.validate(schema["default"], schema | {"$schema": DIALECT, "components": SCHEMAS})
