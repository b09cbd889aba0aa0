"""What becomes of a file, and what was recorded of it: plain text, made to be read as a diff."""

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
"""Codes that say that something went wrong with us."""

_OR = "|"
"""Between verdicts that are both right, written into a list by hand: of a file near a limit of time."""

_EXAMPLES = 5  # of each change, printed

Verdicts = dict[str, str]
"""By the name of a file: `ok`, or the code by which it is refused."""


def judge(sandbox: Sandbox, data: bytes, recipe: Recipe = THUMBNAIL) -> str:
    """Render as the processor does a new image."""
    try:
        sandbox.render(data, [recipe], with_metadata=True).get(recipe.name)
    except Rejected as refusal:
        return refusal.code
    except WorkerError as error:
        traceback.print_exception(error)
        return error.code
    return ACCEPTED


def keep_choices(recorded: Mapping[str, str], found: Mapping[str, str]) -> Verdicts:
    """What was found; or all that is recorded as right, where that is several verdicts, and this is one of them."""
    choices = {name: verdicts for name, verdicts in recorded.items() if _OR in verdicts}
    return {**found, **{name: right for name, right in choices.items() if found.get(name) in right.split(_OR)}}


def read_list(path: Path) -> Verdicts:
    """One file a line, below a heading for each folder at the top."""
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
    """One seed a line, with a letter for each of its mutants; the first line tells the letters."""
    verdicts: Verdicts = {}
    meanings, lines = _read_letters(path)
    for line in lines:
        row, _, seed = line.partition(" ")
        verdicts |= {f"{seed}#{number}": meanings[letter] for number, letter in enumerate(row)}
    return verdicts


def write_rows(path: Path, verdicts: Mapping[str, str]) -> None:
    meanings, _ = _read_letters(path)  # kept as they were, or every line would differ
    unused = iter(sorted(set(ascii_letters) - meanings.keys(), key=ascii_letters.index))
    meanings |= {next(unused): verdict for verdict in sorted({*verdicts.values()} - {*meanings.values()})}
    letters = {verdict: letter for letter, verdict in meanings.items()}
    rows: dict[str, str] = defaultdict(str)
    for name, verdict in verdicts.items():
        rows[name.rpartition("#")[0]] += letters[verdict]
    first = " ".join(f"{letter}={verdict}" for letter, verdict in meanings.items())
    path.write_text("".join([f"{first}\n", *(f"{row} {seed}\n" for seed, row in sorted(rows.items()))]))


def _read_letters(path: Path) -> tuple[dict[str, str], list[str]]:
    """What each letter means, and the lines written with them."""
    if not path.exists():
        return {}, []
    first, *lines = path.read_text().splitlines()
    return dict(each.split("=") for each in first.split()), lines


def describe_changes(recorded: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """What is different now: how many files went from which verdict to which, with the names of a few."""
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
