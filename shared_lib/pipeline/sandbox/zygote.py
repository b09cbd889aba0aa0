"""The zygote: a process that has all codecs loaded, sees no image, and forks a confined child for each one.

So an image that takes over its decoder finds no other's bytes in it, and nothing that it does there meets the next
one. A fork takes 1.3 ms, where a new process would load Python and the codecs for 250.

Started by `processes` as `python -I -m shared_lib.pipeline.sandbox.zygote`, with an almost empty environment. Its stdin
is a socket. For each FORK that it reads there, it forks a child and sends four descriptors: the ends of the child's
pipes (requests, replies, words), and of a socket, the lifeline. On the lifeline it writes the child's exit status once
it has ended. When the other end is closed or shut down, it kills the child. At the end of stdin it forks no more, and
ends with its last child.
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
class Order:
    """What a zygote is started with, as JSON."""

    parent: int
    limits: dict[str, float]
    required: bool = True
    """Fork nothing if the kernel cannot confine it."""


class Zygote:
    def __init__(self, control: socket.socket, order: Order, work: worker.Work) -> None:
        self._control = control
        self._limits = Limits(**order.limits)  # type: ignore[arg-type]  # as our parent wrote them
        self._required = order.required
        self._work = work
        self._lifelines: dict[int, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._ended, wakeup = os.pipe()
        os.set_blocking(wakeup, False)
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # what is ignored wakes nobody up
        self._selector.register(self._ended, selectors.EVENT_READ)
        self._selector.register(control, selectors.EVENT_READ)

    def serve(self) -> None:
        """Fork as asked for, until no more is asked for and all children have ended."""
        while self._control.fileno() >= 0 or self._lifelines:
            for key, _ in self._selector.select():
                if key.fileobj is self._control:
                    self._obey()
                elif key.data is None:
                    os.read(self._ended, 1_000)
                    self._reap()
                elif key.data in self._lifelines:  # given up
                    os.kill(key.data, signal.SIGKILL)
                    self._selector.unregister(key.fileobj)

    def _obey(self) -> None:
        try:
            asked = self._control.recv(100)
        except ConnectionResetError:  # closed, with decoders in it that nobody has taken
            asked = b""
        for _ in asked:
            self._fork()
        if not asked:
            self._selector.unregister(self._control)
            self._control.close()

    def _fork(self) -> None:
        requests, replies, words = os.pipe(), os.pipe(), os.pipe()
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            self._become_child((requests[0], replies[1], words[1]))
        ours.settimeout(0)
        self._lifelines[pid] = ours
        self._selector.register(ours, selectors.EVENT_READ, pid)
        with theirs, suppress(BrokenPipeError):  # nobody takes it any more: its lifeline is closed, which ends it
            socket.send_fds(self._control, [ipc.FORK], [requests[1], replies[0], words[0], theirs.fileno()])
        for end in (*requests, *replies, *words):
            os.close(end)

    def _become_child(self, pipes: tuple[int, int, int]) -> None:
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            worker.run(pipes, self._limits, self._work, required=self._required)
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
                except OSError:  # nobody wants to know
                    continue


def main(work: worker.Work = worker.decode, newest_landlock: int = NEWEST) -> None:
    """Serve the socket that is stdin. Its first message is what the kernel could not take from us, as JSON."""
    order = Order(**json.loads(sys.argv[1]))
    control = socket.socket(fileno=os.dup(0))
    confinement.die_with_parent()
    if os.getppid() != order.parent:
        return  # it died before the kernel was told to end us with it
    warm_up()
    missing = confinement.confine_zygote(newest_landlock)
    missing += _try_child(Limits(**order.limits))  # type: ignore[arg-type]
    hello = json.dumps(missing).encode()
    control.sendall(len(hello).to_bytes(ipc.NUMBER_BYTES) + hello)
    if missing and order.required:
        return
    # What is here now no collection looks at again: it would write to each object, and a child so copy every page.
    gc.collect()
    gc.freeze()
    Zygote(control, order, work).serve()


def _try_child(limits: Limits) -> list[str]:
    """What the kernel could not take from a child: a first one finds out, and tells by its exit status."""
    pid = os.fork()
    if pid == 0:
        missing = confinement.confine_child(limits)
        os._exit(len(missing))
    _, status = os.waitpid(pid, 0)
    return ["seccomp"] if status else []


if __name__ == "__main__":
    main()
