"""The Chromium of the tests in a browser."""

import shutil

OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
_PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""The first has no windows at all, and needs half the processor time. `make test` installs it on Debian."""


def find_program() -> str:
    """Raise LookupError if this machine has none."""
    for name in _PROGRAMS:
        if program := shutil.which(name):
            return program
    raise LookupError("no Chromium on the PATH: install it (Debian: apt install chromium-headless-shell)")
