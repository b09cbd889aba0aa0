"""Keep a dated copy of the public advisories about our dependencies, and compare it with the locked versions.

`make advisories` renews it, from the repository of the Python Packaging Advisory Database. `make release-check` fails
if a locked version is affected, or if the copy is older than 30 days. Tests only check the former: they must not fail
because time passes.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from packaging.version import Version

from infra.functions import ROOT

SNAPSHOT = ROOT / "infra" / "advisories.json"
LOCKED = ("requirements.txt", "requirements-codecs.txt", "infra/local/requirements.txt", "tests/requirements.txt")
MAX_AGE = timedelta(days=30)
SOURCE = "https://github.com/pypa/advisory-database"

Advisory = dict[str, Any]


def list_locked() -> dict[str, Version]:
    """Return the locked version of each package, by its normalized name."""
    text = "\n".join((ROOT / file).read_text() for file in LOCKED)
    return {name: Version(version) for name, version in re.findall(r"^([a-z0-9-]+)==([^ ;\\]+)", text, re.MULTILINE)}


def load() -> Advisory:
    """Return the copy: its `date`, and `advisories` with `id`, `aliases`, `package`, `ranges` and `versions`."""
    snapshot: Advisory = json.loads(SNAPSHOT.read_text())
    return snapshot


def find_affected(snapshot: Advisory, locked: dict[str, Version]) -> Iterator[str]:
    """Name each locked version that an advisory is about."""
    for advisory in snapshot["advisories"]:
        version = locked.get(advisory["package"])
        if version and _is_affected(advisory, version):
            yield f"{advisory['package']} {version}: {advisory['id']} {' '.join(advisory['aliases'])}".strip()


def _is_affected(advisory: Advisory, version: Version) -> bool:
    if str(version) in advisory["versions"]:
        return True
    return any(_is_within(events, version) for events in advisory["ranges"])


def _is_within(events: list[dict[str, str]], version: Version) -> bool:
    """Follow a range's events in the order of their versions, as OSV's schema describes."""
    inside = False
    for event in sorted(events, key=lambda each: Version(next(iter(each.values())))):
        [(kind, text)] = event.items()
        limit = Version(text)
        if kind == "introduced" and version >= limit:
            inside = True
        elif (kind == "fixed" and version >= limit) or (kind == "last_affected" and version > limit):
            inside = False
    return inside


def age(snapshot: Advisory, now: datetime) -> timedelta:
    return now - datetime.fromisoformat(snapshot["date"])


def take(repository: Path) -> Advisory:
    """Return what a checkout of the database has about the locked packages, without what was withdrawn."""
    date = _git(repository, "log", "-1", "--format=%cI")
    locked, advisories = list_locked(), []
    for path in _git(repository, "ls-tree", "-r", "--name-only", "HEAD", "vulns").splitlines():
        package = Path(path).parent.name
        if package in locked and path.endswith(".yaml"):
            advisory = yaml.safe_load(_git(repository, "show", f"HEAD:{path}"))
            if not advisory.get("withdrawn"):
                advisories += [_shorten(advisory, package, each) for each in advisory["affected"]]
    return {
        "source": SOURCE,
        "date": datetime.fromisoformat(date).astimezone(UTC).isoformat(),
        "advisories": advisories,
    }


def _shorten(advisory: Advisory, package: str, affected: Advisory) -> Advisory:
    ranges = [each["events"] for each in affected.get("ranges", []) if each["type"] == "ECOSYSTEM"]
    return {
        "id": advisory["id"],
        "aliases": advisory.get("aliases", []),
        "package": package,
        "ranges": ranges,
        "versions": [] if ranges else affected.get("versions", []),  # they list what is within the ranges
    }


def _git(repository: Path, *arguments: str) -> str:
    ran = subprocess.run(["git", "-C", repository, *arguments], check=True, capture_output=True, text=True)  # noqa: S603, S607  our arguments
    return ran.stdout.strip()


def check(snapshot: Advisory, now: datetime) -> list[str]:
    """Return what prevents a release."""
    problems = [*find_affected(snapshot, list_locked())]
    if (old := age(snapshot, now)) > MAX_AGE:
        problems.append(f"The advisories are {old.days} days old: run `make advisories`")
    return problems


def main(arguments: list[str]) -> None:
    if arguments:
        SNAPSHOT.write_text(json.dumps(take(Path(arguments[0])), indent=1) + "\n")
    elif problems := check(load(), datetime.now(UTC)):
        sys.exit("\n".join(problems))


if __name__ == "__main__":
    main(sys.argv[1:])
