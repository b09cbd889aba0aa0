"""Run a call on a thread of its own, for whoever can't wait for its end."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

Result = TypeVar("Result")


def start(call: Callable[[], Result], name: str) -> "Future[Result]":
    """The thread never keeps the process from ending, as an executor's would."""
    answer: Future[Result] = Future()

    def run() -> None:
        try:
            answer.set_result(call())
        except BaseException as error:  # noqa: BLE001  for whoever asks for the result
            answer.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return answer
