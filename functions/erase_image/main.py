"""Erase an image, and give a receipt."""

import functions_framework

from shared_lib import web
from shared_lib.domain.principals import Principal
from shared_lib.runtime import Runtime
from shared_lib.web.privacy import Receipt, show_receipt
from shared_lib.web.schemas import ImageId

ABOUT = """As deletion, which erases too. The receipt names the objects and rows that there were. It is complete when
nothing is left, and then has a digest that the audit log also has."""


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="erase_image",
        route=web.Route("POST", "/api/v1/images/{uuid}/actions/erase"),
        docs=web.Docs(tag="images", summary="Erase an image, with a receipt", description=ABOUT),
        inputs=web.Inputs(path={"uuid": ImageId}, principal=True),
        success=web.Success(Receipt),
        errors=web.Errors(web.ImageError, [web.NO_IMAGE]),
        needs="images:write",
    )
)
def main(rt: Runtime, *, uuid: ImageId, principal: Principal) -> Receipt:
    receipt_id = rt.images.erase(uuid, principal.name)
    rt.finisher.try_to_clean_up(uuid)
    return show_receipt(rt.privacy.get_receipt(receipt_id), rt.settings)
