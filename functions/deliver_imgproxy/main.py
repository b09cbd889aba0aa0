"""Deliver images by imgproxy's URLs."""

import functions_framework

from shared_lib import web
from shared_lib.delivery.imgproxy.dialect import HEALTH, word_error
from shared_lib.runtime import Runtime
from shared_lib.web.delivered import answer_probe, deliver


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="deliver_imgproxy",
        route=web.Route("GET", "/imgproxy/{rest+}"),
        docs=web.Docs(tag="delivery", summary="Get an image by one of imgproxy's URLs", is_hidden=True),
        inputs=web.Inputs(sent_path=True, accept=True),
        success=web.Success(bytes),
        errors=web.Errors(web.ImageError, word=word_error),
        needs="nothing",
        is_embeddable=True,
        cache=web.Cache.BY_URL,
    )
)
def main(rt: Runtime, *, sent_path: str, accept: str) -> web.Content | web.Deferred:
    if sent_path in HEALTH:
        return answer_probe("imgproxy is running")
    return deliver(rt, rt.delivery.imgproxy.read(sent_path, accept))
