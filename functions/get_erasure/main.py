"""Get the receipt of an erasure."""

import functions_framework

from shared_lib import web
from shared_lib.domain.privacy import ReceiptNotFound
from shared_lib.runtime import Runtime
from shared_lib.web.privacy import Receipt, ReceiptId, show_receipt


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="get_erasure",
        route=web.Route("GET", "/api/v1/erasures/{erasure_id}"),
        docs=web.Docs(tag="images", summary="Get the receipt of an erasure"),
        inputs=web.Inputs(path={"erasure_id": ReceiptId}),
        success=web.Success(Receipt),
        errors=web.Errors(web.ImageError, [ReceiptNotFound()]),
        needs="images:write",
    )
)
def main(rt: Runtime, *, erasure_id: ReceiptId) -> Receipt:
    return show_receipt(rt.privacy.get_receipt(erasure_id), rt.settings)
