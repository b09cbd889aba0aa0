"""The zygote: a process that has all codecs loaded, reads no image, and forks confined workers, one for each image.

So an image that takes over its worker finds no other image's bytes there, and nothing that it does there affects the
next one, unless the settings allow a worker several images. A fork takes 1.3 ms; starting Python and the codecs anew
would take 250.

`processes` starts it as `python -I -m shared_lib.pipeline.sandbox.zygote`, with an almost empty environment. Its stdin
is a socket. For each FORK that it reads there, it forks a worker and sends four descriptors: the ends of the worker's
pipes (requests, replies, stderr), and of a socket, the lifeline. Once the worker has exited, the zygote writes its exit
status to the lifeline. When the other end is closed or shut down, it kills the worker. At the end of stdin it forks no
more, and exits after its last worker.
"""

import gc
import json
import os
import selectors
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass

from shared_lib.limits import Limits
from shared_lib.pipeline.sandbox import confinement, ipc, worker
from shared_lib.pipeline.sandbox.landlock import NEWEST
from shared_lib.pipeline.sandbox.warmup import warm_up


@dataclass(frozen=True, kw_only=True)
class ZygoteConfig:
    """The zygote's command line argument, as JSON."""

    parent: int
    limits: dict[str, float]
    required: bool = True
    """Fork nothing if the kernel cannot confine a worker."""
    images_per_worker: int = 1
    """Images after which a worker exits, at the latest."""


class Zygote:
    def __init__(self, control: socket.socket, config: ZygoteConfig, handler: worker.Handler) -> None:
        self._control = control
        self._limits = Limits(**config.limits)  # type: ignore[arg-type]  # as our parent wrote them
        self._config = config
        self._handler = handler
        self._lifelines: dict[int, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._exits, wakeup = os.pipe()
        os.set_blocking(wakeup, False)
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # an ignored signal wakes nobody up
        self._selector.register(self._exits, selectors.EVENT_READ)
        self._selector.register(control, selectors.EVENT_READ)

    def serve(self) -> None:
        """Fork on request, until stdin has ended and all workers have exited."""
        while self._control.fileno() >= 0 or self._lifelines:
            for key, _ in self._selector.select():
                if key.fileobj is self._control:
                    self._read_requests()
                elif key.data is None:
                    os.read(self._exits, 1_000)
                    self._reap()
                elif key.data in self._lifelines:  # its lifeline was closed
                    os.kill(key.data, signal.SIGKILL)
                    self._selector.unregister(key.fileobj)

    def _read_requests(self) -> None:
        try:
            requests = self._control.recv(100)
        except ConnectionResetError:  # closed, with workers in it that nobody has taken
            requests = b""
        for _ in requests:
            self._fork()
        if not requests:
            self._selector.unregister(self._control)
            self._control.close()

    def _fork(self) -> None:
        requests, replies, stderr = os.pipe(), os.pipe(), os.pipe()
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            self._become_worker((requests[0], replies[1], stderr[1]))
        ours.settimeout(0)
        self._lifelines[pid] = ours
        self._selector.register(ours, selectors.EVENT_READ, pid)
        with theirs, suppress(BrokenPipeError):  # the parent has gone: closing the lifeline ends the worker
            socket.send_fds(self._control, [ipc.FORK], [requests[1], replies[0], stderr[0], theirs.fileno()])
        for end in (*requests, *replies, *stderr):
            os.close(end)

    def _become_worker(self, pipes: tuple[int, int, int]) -> None:
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            worker.run(
                pipes,
                self._limits,
                self._handler,
                required=self._config.required,
                images=self._config.images_per_worker,
            )
        except BaseException as error:  # noqa: BLE001  it must never return to the zygote's loop
            os.write(2, f"{type(error).__name__}: {error}".encode(errors="replace")[:1_000])
            os._exit(1)
        os._exit(0)

    def _reap(self) -> None:
        while self._lifelines:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            lifeline = self._lifelines.pop(pid)
            if lifeline in self._selector.get_map():
                self._selector.unregister(lifeline)
            with lifeline:
                try:
                    lifeline.send(os.waitstatus_to_exitcode(status).to_bytes(ipc.NUMBER_BYTES, signed=True))
                except OSError:  # the parent has closed it
                    continue


def main(handler: worker.Handler = worker.render_job, newest_landlock: int = NEWEST) -> None:
    """Serve the socket on stdin. The first message lists, as JSON, what the kernel could not restrict."""
    config = ZygoteConfig(**json.loads(sys.argv[1]))
    control = socket.socket(fileno=os.dup(0))
    confinement.die_with_parent()
    if os.getppid() != config.parent:
        return  # it died before we asked the kernel to end us with it
    warm_up()
    missing = confinement.confine_zygote(newest_landlock)
    missing += _try_worker(Limits(**config.limits))  # type: ignore[arg-type]
    hello = json.dumps(missing).encode()
    control.sendall(len(hello).to_bytes(ipc.NUMBER_BYTES) + hello)
    if missing and config.required:
        return
    # Exempt what exists now from garbage collection: a collection would write to each object, and so copy every page.
    gc.collect()
    gc.freeze()
    Zygote(control, config, handler).serve()


def _try_worker(limits: Limits) -> list[str]:
    """Confine a first worker, which reports by its exit status. Return what the kernel could not restrict."""
    pid = os.fork()
    if pid == 0:
        missing = confinement.confine_worker(limits)
        os._exit(len(missing))
    _, status = os.waitpid(pid, 0)
    return ["seccomp"] if status else []


if __name__ == "__main__":
    main()
