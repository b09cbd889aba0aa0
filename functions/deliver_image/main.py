"""Deliver an image in any size and format, by URL."""

from typing import Annotated

import functions_framework
from pydantic import Field

from shared_lib import web
from shared_lib.runtime import Runtime
from shared_lib.web.delivered import ERRORS, deliver

ABOUT = """The first request for a rendition makes it, and later ones find it. `options` is a preset's name, or options
such as width and height. The format `auto` depends on `Accept`."""


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="deliver_image",
        route=web.Route("GET", "/i/{signature}/{options}/{file}"),
        docs=web.Docs(tag="delivery", summary="Get an image in the size that its URL names", description=ABOUT),
        inputs=web.Inputs(
            path={
                "signature": Annotated[str, Field(examples=["unsafe"])],
                "options": Annotated[str, Field(examples=["w=320,h=240,fit=cover"])],
                "file": Annotated[str, Field(examples=["0b9c0f3e-6e0e-4f3c-8f55-2f0f3f3a9d11.webp"])],
            },
            sent_path=True,
            accept=True,
        ),
        success=web.Success(bytes),
        errors=ERRORS,
        needs="nothing",
        is_embeddable=True,
        cache=web.Cache.BY_URL,
    )
)
def main(rt: Runtime, *, sent_path: str, accept: str, **_: str) -> web.Content | web.Deferred:
    return deliver(rt, rt.delivery.read_url(sent_path, accept))
