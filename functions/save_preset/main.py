"""Make a preset, or change it."""

import functions_framework

from shared_lib import web
from shared_lib.domain.principals import Principal
from shared_lib.repositories.presets import PresetChanged, TooManyPresets
from shared_lib.runtime import Runtime
from shared_lib.services.recipes import WatermarkNotFound
from shared_lib.web.presets import PresetEnvelope, PresetOrder, show_preset

ABOUT = """A change is a new version. From then on, uploads and URLs that name the preset get renditions by its new
recipe, made on demand. The name replaces a built-in preset's or an operator's, but not what every image gets."""


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="save_preset",
        route=web.Route("POST", "/api/v1/presets"),
        docs=web.Docs(tag="delivery", summary="Make a preset, or a new version of it", description=ABOUT),
        inputs=web.Inputs(body=PresetOrder, principal=True),
        success=web.Success(PresetEnvelope, status=201),
        errors=web.Errors(web.ImageError, [PresetChanged(), TooManyPresets(), WatermarkNotFound("…")]),
        needs="images:write",
    )
)
def main(rt: Runtime, *, body: PresetOrder, principal: Principal) -> PresetEnvelope:
    rt.recipes.check_preset(body.recipe)
    return PresetEnvelope(data=show_preset(rt.presets.save(body.recipe, principal.name), body.recipe))
