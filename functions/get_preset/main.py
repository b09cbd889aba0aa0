"""Show the versions of a preset."""

import functions_framework

from shared_lib import web
from shared_lib.repositories.presets import PresetNotFound
from shared_lib.runtime import Runtime
from shared_lib.web.presets import PresetName, PresetVersions, show_version


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="get_preset",
        route=web.Route("GET", "/api/v1/presets/{preset}"),
        docs=web.Docs(
            tag="delivery",
            summary="Show the versions of a preset, newest first",
            description="The last 20 of one that was made at run time. A built-in one has none.",
        ),
        inputs=web.Inputs(path={"preset": PresetName}),
        success=web.Success(PresetVersions),
        errors=web.Errors(web.ImageError, [PresetNotFound()]),
        needs="images:read",
    )
)
def main(rt: Runtime, *, preset: PresetName) -> PresetVersions:
    return PresetVersions(data=tuple(show_version(each) for each in rt.presets.list_versions(preset)))
