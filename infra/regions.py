"""Write what is derived into a file that is otherwise ours: each region stands between two comments."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path


def fill(path: Path, **regions: Iterable[str]) -> str:
    """Return the file's text with the given text in each region."""
    comment = "<!-- {} -->" if path.suffix == ".md" else "# {}"
    text = path.read_text()
    for name, lines in regions.items():
        begin = re.escape(comment.format(f"begin {name}, written by `make contracts`"))
        end = re.escape(comment.format(f"end {name}"))
        region = rf"(?<={begin}\n).*?(?=^ *{end}$)"
        text, count = re.subn(region, _constantly("".join(lines)), text, flags=re.MULTILINE | re.DOTALL)
        if count != 1:
            raise SystemExit(f"{path} has no region `{name}` to write to, or more than one.")
    return text


def _constantly(text: str) -> Callable[[object], str]:
    return lambda _match: text
