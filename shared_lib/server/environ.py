"""Translate a request from ASGI to WSGI (PEP 3333)."""

import re
import sys
from typing import IO, TYPE_CHECKING
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment
    from uvicorn._types import HTTPScope

_ABSOLUTE = re.compile(r"(?i)https?://([^/?#]*)")


def make_environ(scope: "HTTPScope", file: IO[bytes], size: int | None) -> "WSGIEnvironment":
    """Return the WSGI environment. `size` is the body's, None if there is none. RAW_URI is the target as it was sent.

    Headers with an underscore are left out, as nginx does: WSGI's names don't distinguish them from those with a dash.
    """
    target, query = scope["raw_path"].decode("latin-1"), scope["query_string"].decode("latin-1")
    address, port = scope["server"] or ("", None)
    client, _ = scope["client"] or ("", 0)
    environ: WSGIEnvironment = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "QUERY_STRING": query,
        "RAW_URI": f"{target}?{query}" if query else target,
        "SERVER_NAME": address,
        "SERVER_PORT": f"{port or ''}",
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": client,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": file,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for raw_name, raw_value in scope["headers"]:
        if b"_" in raw_name:
            continue
        name, value = raw_name.decode("latin-1").upper().replace("-", "_"), raw_value.decode("latin-1")
        if name == "TRANSFER_ENCODING":
            continue  # the body is decoded by now
        key = name if name in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{name}"
        environ[key] = f"{environ[key]}{'; ' if name == 'COOKIE' else ','}{value}" if key in environ else value
    if absolute := _ABSOLUTE.match(target):  # as sent to a proxy. It overrides Host
        environ["HTTP_HOST"] = absolute[1]
        target = target[absolute.end() :]
    environ["PATH_INFO"] = unquote_to_bytes(target if target.startswith("/") else f"/{target}").decode("latin-1")
    if size is not None:
        environ["CONTENT_LENGTH"] = f"{size}"
    return environ
