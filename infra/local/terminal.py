"""What the person at the terminal sees: each step with the time it took, and the processes' own lines."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import click

# C0 but for tabs, DEL and C1: a terminal would obey them, and a line may quote what a stranger sent.
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")

_lock = threading.Lock()


def say(text: str = "", *, err: bool = False, **style: Any) -> None:  # noqa: ANN401 - as click takes it
    """Where it cannot be written, as to a file on a full disk, it is lost; whoever says it goes on."""
    with _lock, suppress(OSError):
        click.secho(text, err=err, **style)


def relay(name: str, line: str) -> None:
    """A line that a child process wrote, with what a terminal would obey made visible."""
    shown = _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", line)
    say(f"{click.style(f'{name:>18}', dim=True)} │ {shown}")


def complain(text: str) -> None:
    say(text, err=True, fg="red")


@contextmanager
def step(what: str) -> Iterator[None]:
    """Say that `what` is done, and after how long; a step that fails is told by its error alone."""
    began = time.monotonic()
    yield
    say(f"  {click.style('✓', fg='green')} {what:<44} {time.monotonic() - began:5.1f} s")
