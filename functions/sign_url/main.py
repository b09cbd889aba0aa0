"""Sign a URL that delivers an image, or a token for many of them."""

import functions_framework

from shared_lib import web
from shared_lib.domain.audit import Action
from shared_lib.runtime import Runtime
from shared_lib.web.schemas import ImageId
from shared_lib.web.signing import SignedUrl, UrlOrder, sign

ABOUT = """Whoever has the URL gets this rendition until it expires, or the tenant revokes its links. With `capability`
there is also a `token`: whoever has that writes URLs by themselves, of the image, its collection, or images whose
filenames begin alike, in the presets, widths and formats that it names. A program that has the tenant's key can sign
URLs, and make tokens, by itself. Each call is recorded in the audit log."""


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="sign_url",
        route=web.Route("POST", "/api/v1/images/{uuid}/actions/sign"),
        docs=web.Docs(tag="delivery", summary="Sign a URL that delivers an image", description=ABOUT),
        inputs=web.Inputs(path={"uuid": ImageId}, body=UrlOrder),
        success=web.Success(SignedUrl),
        errors=web.Errors(web.ImageError, [web.NO_IMAGE]),
        needs="images:share",
    )
)
def main(rt: Runtime, *, uuid: ImageId, body: UrlOrder) -> SignedUrl:
    signed = sign(rt, rt.deliveries.find_image(uuid), body)
    if rt.delivery.keys.are_needed:
        ordered = body.model_dump(mode="json", exclude_none=True, exclude={"expires_in"})
        rt.audit_log.record(Action.LINK_SIGNED, f"{uuid}", expires_at=signed.expires_at, **ordered)
    return signed
