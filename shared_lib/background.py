"""Run a call on a thread of its own, for callers that can't wait until it ends."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from typing import TypeVar

Result = TypeVar("Result")


def start(call: Callable[[], Result], name: str) -> "Future[Result]":
    """Unlike an executor's, the thread doesn't keep the process from ending."""
    result: Future[Result] = Future()

    def run() -> None:
        try:
            result.set_result(call())
        except BaseException as error:  # noqa: BLE001  raised to the caller of result()
            result.set_exception(error)

    context = copy_context()  # whom the caller acts for
    threading.Thread(target=context.run, args=(run,), name=name, daemon=True).start()
    return result
