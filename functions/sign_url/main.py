"""Sign a URL that delivers an image."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import functions_framework
from pydantic import Field

from shared_lib import web
from shared_lib.domain.timestamps import Time
from shared_lib.runtime import Runtime
from shared_lib.web.schemas import ApiModel, ImageId

ABOUT = "Whoever has the URL gets this rendition until it expires. A program that has the key can sign URLs by itself."


class UrlOrder(ApiModel):
    options: Annotated[str, Field(min_length=1, max_length=512, examples=["w=320,h=240,fit=cover"])]
    format: Annotated[str, Field(pattern="^[a-z]{3,4}$", examples=["auto"])] | None = None
    expires_in: (
        Annotated[int, Field(ge=1, le=31_536_000, description="Seconds. Absent: the URL doesn't expire.")] | None
    ) = None


class SignedUrl(ApiModel):
    url: Annotated[str, Field(examples=["https://images.example.com/i/k1.c2lnbmF0dXJl/w=320/0b9c0f3e.auto"])]
    expires_at: Time | None


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
