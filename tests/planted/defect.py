"""A known defect: planted in a copy of the project, it makes a test fail."""

from dataclasses import dataclass
from pathlib import Path


class DoesNotApply(Exception):
    """The code that a defect replaces is not there exactly once: the list has to follow the code."""


@dataclass(frozen=True, kw_only=True)
class Defect:
    """A mistake that would break a guarantee, and the test that catches it."""

    name: str
    breaks: str
    """The guarantee, as docs/guarantees.md puts it."""
    file: str
    old: str
    """Is in the file exactly once."""
    new: str
    caught_by: str
    """A pytest node ID. The test fails with the defect, and passes without."""

    def plant(self, tree: Path) -> str:
        """Write the defect into a copy of the project. Return the file's text before. Raises DoesNotApply."""
        path = tree / self.file
        text = path.read_text()
        if text.count(self.old) != 1:
            raise DoesNotApply(f"{self.name}: its code is {text.count(self.old)} times in {self.file}")
        path.write_text(text.replace(self.old, self.new))
        return text

    def heal(self, tree: Path, before: str) -> None:
        (tree / self.file).write_text(before)


def format_table(defects: tuple[Defect, ...]) -> str:
    """Return the table in docs/guarantees.md."""
    rows = [f"| {each.name} | {each.breaks} | `{each.caught_by.removeprefix('tests/')}` |" for each in defects]
    return "\n".join(["| planted defect | breaks | caught by |", "|---|---|---|", *rows])
