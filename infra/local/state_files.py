"""Read and write the files that outlive a run.

A power loss leaves the old content or the new. What is damaged all the same is made again.
"""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from infra.local import terminal
from infra.local.settings import CannotStart

Content = TypeVar("Content")


def write(path: Path, text: str) -> None:
    """Write a file that only this user may read. It replaces the old one once it is on the disk."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    with new.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    rename(new, path)


def rename(old: Path, new: Path) -> None:
    """Rename a file or folder in its folder, and wait until that is on the disk."""
    old.replace(new)
    folder = os.open(new.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read(path: Path, form: TypeAdapter[Content]) -> Content | None:
    """Return what a JSON file holds, or None if it has to be written: it is missing, or damaged."""
    try:
        return form.validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError:
        report_damage(path)
        return None


def report_damage(path: Path) -> None:
    terminal.print_error(f"{path} is damaged, as a power loss may leave it. It is made again.")


def make_scratch(data: Path) -> Path:
    """Make the directory for sockets, whose paths have to be short. A data directory has the same one every time.

    So what a power loss leaves there goes at the next start.
    """
    digest = hashlib.sha256(os.fsencode(data)).hexdigest()[:16]
    scratch = Path(tempfile.gettempdir()) / f"image-processing-{digest}"
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        scratch.mkdir(mode=0o700)  # fails if it is another user's
    except OSError as error:
        raise CannotStart(
            f"{scratch} cannot be made ({error.strerror}): remove it, or set TMPDIR to a directory of your own."
        ) from None
    return scratch
