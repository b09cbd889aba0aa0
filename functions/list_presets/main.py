"""List presets."""

import functions_framework

from shared_lib import web
from shared_lib.runtime import Runtime
from shared_lib.web.presets import PresetList, show_built_in, show_preset


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="list_presets",
        route=web.Route("GET", "/api/v1/presets"),
        docs=web.Docs(
            tag="delivery",
            summary="List presets by name",
            description="Your own, and the built-in ones and the operator's that they don't replace.",
        ),
        success=web.Success(PresetList),
        errors=web.Errors(web.ImageError),
        needs="images:read",
    )
)
def main(rt: Runtime) -> PresetList:
    shown = {each.name: show_built_in(each) for each in rt.recipes.presets.values()}
    shown |= {each.name: show_preset(each, each.recipe) for each in rt.presets.list() if each.recipe}
    return PresetList(data=tuple(shown[name] for name in sorted(shown)))
