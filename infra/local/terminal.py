"""Print to the terminal: each step with its duration, and the output of processes."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import click

# C0 except tabs, DEL and C1. A terminal would execute them, and log lines may quote untrusted input.
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")

_lock = threading.Lock()


def print_line(text: str = "", *, err: bool = False, **style: Any) -> None:  # noqa: ANN401  click's styles
    """Print a line. Ignore write errors, such as a full disk behind a redirect."""
    with _lock, suppress(OSError):
        click.secho(text, err=err, **style)


def relay(name: str, line: str) -> None:
    """Print a line of a process, with control characters made visible."""
    shown = _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", line)
    print_line(f"{click.style(f'{name:>18}', dim=True)} │ {shown}")


def print_error(text: str) -> None:
    print_line(text, err=True, fg="red")


@contextmanager
def step(what: str) -> Iterator[None]:
    """Print `what` with its duration when the block succeeds. Errors are reported elsewhere."""
    began = time.monotonic()
    yield
    print_line(f"  {click.style('✓', fg='green')} {what:<44} {time.monotonic() - began:5.1f} s")
