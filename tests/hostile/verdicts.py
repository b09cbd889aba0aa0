"""Verdicts on files, and their record: plain text, whose diffs are easy to read."""

import traceback
from collections import defaultdict
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from string import ascii_letters

from shared_lib.errors import NOT_ITS_OWN_FAULT, Rejected, WorkerError
from shared_lib.pipeline.recipe import THUMBNAIL, Recipe
from shared_lib.pipeline.sandbox.pool import Sandbox

ACCEPTED = "ok"
UNEXPLAINED = {code.value for code in NOT_ITS_OWN_FAULT}
"""Codes of failures of ours."""

_OR = "|"
"""Separates verdicts that are both right, for a file close to a time limit. Written by hand."""

_EXAMPLES = 5  # file names printed for each change

Verdicts = dict[str, str]
"""Verdicts by file name: `ok`, or the failure's code."""


def judge(sandbox: Sandbox, data: bytes, recipe: Recipe = THUMBNAIL) -> str:
    """Render it as the processor renders a new image, and return the verdict."""
    try:
        sandbox.render(data, [recipe], with_metadata=True).get(recipe.name)
    except Rejected as rejection:
        return rejection.code
    except WorkerError as error:
        traceback.print_exception(error)
        return error.code
    return ACCEPTED


def keep_choices(recorded: Mapping[str, str], found: Mapping[str, str]) -> Verdicts:
    """Return the verdicts found, but keep a record of several right ones if it includes the one found."""
    choices = {name: verdicts for name, verdicts in recorded.items() if _OR in verdicts}
    return {**found, **{name: right for name, right in choices.items() if found.get(name) in right.split(_OR)}}


def read_list(path: Path) -> Verdicts:
    """Read one file per line, below a heading for each top folder."""
    verdicts, top = {}, ""
    for line in path.read_text().splitlines() if path.exists() else ():
        if line.startswith("# "):
            top = line[2:]
        elif line:
            verdict, _, name = line.partition(" ")
            verdicts[f"{top}/{name}"] = verdict
    return verdicts


def write_list(path: Path, verdicts: Mapping[str, str]) -> None:
    lines = []
    for top, names in groupby(sorted(verdicts), key=lambda name: name.partition("/")[0]):
        lines += ["", f"# {top}", *(f"{verdicts[name]} {name.partition('/')[2]}" for name in names)]
    path.write_text("\n".join(lines[1:]) + "\n")


def read_rows(path: Path) -> Verdicts:
    """Read one seed per line, with a letter for each of its mutants. The first line defines the letters."""
    verdicts: Verdicts = {}
    meanings, lines = _read_letters(path)
    for line in lines:
        row, _, seed = line.partition(" ")
        verdicts |= {f"{seed}#{number}": meanings[letter] for number, letter in enumerate(row)}
    return verdicts


def write_rows(path: Path, verdicts: Mapping[str, str]) -> None:
    meanings, _ = _read_letters(path)  # keep the letters, or every line would differ
    unused = iter(sorted(set(ascii_letters) - meanings.keys(), key=ascii_letters.index))
    meanings |= {next(unused): verdict for verdict in sorted({*verdicts.values()} - {*meanings.values()})}
    letters = {verdict: letter for letter, verdict in meanings.items()}
    rows: dict[str, str] = defaultdict(str)
    for name, verdict in verdicts.items():
        rows[name.rpartition("#")[0]] += letters[verdict]
    first = " ".join(f"{letter}={verdict}" for letter, verdict in meanings.items())
    path.write_text("".join([f"{first}\n", *(f"{row} {seed}\n" for seed, row in sorted(rows.items()))]))


def _read_letters(path: Path) -> tuple[dict[str, str], list[str]]:
    """Return the letters' meanings, and the other lines."""
    if not path.exists():
        return {}, []
    first, *lines = path.read_text().splitlines()
    return dict(each.split("=") for each in first.split()), lines


def describe_changes(recorded: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """Return the differences: how many files changed from which verdict to which, and the names of a few."""
    changes = defaultdict(list)
    for name in sorted(recorded.keys() | found.keys()):
        before, now = recorded.get(name, "(not recorded)"), found.get(name, "(not there)")
        if now not in before.split(_OR):
            changes[before, now].append(name)
    lines = []
    for (before, now), names in sorted(changes.items(), key=lambda change: -len(change[1])):
        lines.append(f"  {before} -> {now}: {len(names)}")
        lines += [f"      {name}" for name in names[:_EXAMPLES]]
        lines += [f"      and {len(names) - _EXAMPLES} more"] * (len(names) > _EXAMPLES)
    return lines
