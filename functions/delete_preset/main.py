"""Delete a preset."""

import functions_framework

from shared_lib import web
from shared_lib.domain.principals import Principal
from shared_lib.repositories.presets import PresetNotFound
from shared_lib.runtime import Runtime
from shared_lib.web.presets import PresetName
from shared_lib.web.schemas import Message, MetaMessage

DELETED = MetaMessage(meta=Message(message="Preset deleted"))


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="delete_preset",
        route=web.Route("DELETE", "/api/v1/presets/{preset}"),
        docs=web.Docs(
            tag="delivery",
            summary="Delete a preset",
            description="If it replaced a built-in one of the same name, that one counts again.",
        ),
        inputs=web.Inputs(path={"preset": PresetName}, principal=True),
        success=web.Success(MetaMessage, example=DELETED),
        errors=web.Errors(web.ImageError, [PresetNotFound()]),
        needs="images:write",
    )
)
def main(rt: Runtime, *, preset: PresetName, principal: Principal) -> MetaMessage:
    rt.presets.delete(preset, principal.name)
    return DELETED
