"""How every function is served, in its container and on one machine alike.

One worker, whose threads answer the Service's containerConcurrency: threads share connections and memory, and Knative
adds pods where another server would add workers.
"""

import ctypes
import json
import os
import socket
from pathlib import Path

import gunicorn.util

wsgi_app = "shared_lib.server:create_app()"
# Knative names the port, and reaches it from the pod's own queue-proxy.
bind = f"0.0.0.0:{os.environ.get('PORT', '8080')}"  # noqa: TID251 - this file is gunicorn's settings
workers = 1
worker_class = "gthread"
threads = int(os.environ.get("THREADS", "16"))  # noqa: TID251 - gunicorn has no variable of its own for it
# Callers (queue-proxy, KafkaSource) reuse idle connections, and must be the ones to close them: a connection closed
# just as a request comes in is a 502 to whoever sent it.
keepalive = 90
# gunicorn's limit would kill the whole worker; a request is bounded by the Service's timeoutSeconds.
timeout = 0
# Asked to end, it finishes what it is answering. How long that may take is for its platform to say, in a pod's
# termination grace period, which Knative makes as long as the Service's timeoutSeconds.
graceful_timeout = 600
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - its heartbeat file needs no disk
control_socket_disable = True
loglevel = "warning"  # the functions say what happens

# Fixed, for glibc would raise them after the first large object, and keep memory in pieces from then on: mallopt(3).
# Measured on 2,720 images, 120 of them of up to 40 MB: the processor stays at 121 MiB, where it grew to 235.
_libc = ctypes.CDLL(None)
if hasattr(_libc, "mallopt"):
    for parameter in (-1, -3):  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
        _libc.mallopt(parameter, 1_000_000)


def write_error(client: socket.socket, status: int, reason: str, message: str) -> None:
    """
    What gunicorn itself refuses (a malformed or endless request line or header) is refused in JSON too.

    It does not know whom the request was for, so the body has both shapes that callers read.
    """
    sentence, code = message or reason, reason.lower().replace(" ", "_")
    body = json.dumps({"error": sentence, "code": code, "errors": [{"title": sentence, "code": code}]}).encode()
    head = (
        f"HTTP/1.1 {status} {reason}\r\nConnection: close\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    gunicorn.util.write_nonblock(client, head.encode("latin-1") + body)


gunicorn.util.write_error = write_error  # there is no setting for it
