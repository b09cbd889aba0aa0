"""Sign a URL that delivers an image."""

from datetime import UTC, datetime, timedelta

import functions_framework

from shared_lib import web
from shared_lib.runtime import Runtime
from shared_lib.web.schemas import ImageId
from shared_lib.web.signing import SignedUrl, UrlOrder

ABOUT = "Whoever has the URL gets this rendition until it expires. A program that has the key can sign URLs by itself."


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="sign_url",
        route=web.Route("POST", "/api/v1/images/{uuid}/actions/sign"),
        docs=web.Docs(tag="delivery", summary="Sign a URL that delivers an image", description=ABOUT),
        inputs=web.Inputs(path={"uuid": ImageId}, body=UrlOrder),
        success=web.Success(SignedUrl),
        errors=web.Errors(web.ImageError, [web.NO_IMAGE]),
        needs="images:read",
    )
)
def main(rt: Runtime, *, uuid: ImageId, body: UrlOrder) -> SignedUrl:
    rt.deliveries.find_image(uuid)
    expires_at = datetime.now(UTC) + timedelta(seconds=body.expires_in) if body.expires_in else None
    path = rt.delivery.sign(body.options, f"{uuid}.{body.format}" if body.format else f"{uuid}", expires_at)
    return SignedUrl(url=f"{rt.settings.http.public_base_url or ''}{path}", expires_at=expires_at)
