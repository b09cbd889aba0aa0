"""A function as its container serves it: functions-framework's application, and the probes that platforms send it.

gunicorn builds one in its worker, so a function that does not load, or whose settings are not whole, ends the container
with the reason as its last words. The probes therefore need to say no more than that the process answers. They ask
no database, store or broker: new pods in place of these would not bring those back. `/api/health` tells of them.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import functions_framework

from shared_lib import runtime

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

PROBES = ("/_/health", "/_/ready")  # where OpenFaaS looks; Knative is told to look there too


def create_app() -> "WSGIApplication":
    runtime.current()  # which connects nothing yet
    function: WSGIApplication = functions_framework.create_app()  # type: ignore[no-untyped-call]

    def serve(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if environ["PATH_INFO"] not in PROBES:
            return function(environ, start_response)
        start_response("204 No Content", [])
        return []

    return serve
