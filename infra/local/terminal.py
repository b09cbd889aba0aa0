"""What the person at the terminal sees: each step with the time it took, and the processes' own lines."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

_lock = threading.Lock()


def say(text: str = "") -> None:
    with _lock:
        click.echo(text)


def relay(name: str, line: str) -> None:
    """A line that a child process wrote."""
    say(f"{click.style(f'{name:>18}', dim=True)} │ {line}")


def complain(text: str) -> None:
    with _lock:
        click.secho(text, fg="red", err=True)


@contextmanager
def step(what: str) -> Iterator[None]:
    """Say that `what` is done, and after how long; a step that fails is told by its error alone."""
    began = time.monotonic()
    yield
    say(f"  {click.style('✓', fg='green')} {what:<44} {time.monotonic() - began:5.1f} s")
