"""No locked version is affected by a known advisory."""

import subprocess
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from packaging.version import Version

from infra import advisories

SNAPSHOT = advisories.load()


@pytest.mark.filterwarnings("default")
def test_no_locked_version_is_affected() -> None:
    assert [*advisories.find_affected(SNAPSHOT, advisories.list_locked())] == []
    old = advisories.age(SNAPSHOT, datetime.now(UTC))
    if old > advisories.MAX_AGE:  # an error only at a release: tests must not fail because time passes
        warnings.warn(f"The advisories are {old.days} days old: run `make advisories`", stacklevel=1)


@pytest.mark.parametrize(
    ("package", "version", "affected"),
    [
        ("urllib3", "1.16", False),
        ("urllib3", "1.17", True),
        ("urllib3", "1.18", True),
        ("pillow", "9.5.0", True),  # libwebp's CVE-2023-4863
        ("jinja2", "2.11.2", True),
        ("jinja2", "99", False),
        ("werkzeug", "2.2.2", True),
    ],
)
def test_an_affected_version_is_found(package: str, version: str, *, affected: bool) -> None:
    only = {"urllib3": "PYSEC-2017-98"}.get(package, "")
    snapshot = SNAPSHOT | {"advisories": [each for each in SNAPSHOT["advisories"] if only in each["id"]]}

    assert bool([*advisories.find_affected(snapshot, {package: Version(version)})]) == affected


def test_a_release_needs_advisories_of_the_last_thirty_days() -> None:
    taken = datetime.fromisoformat(SNAPSHOT["date"])

    assert advisories.check(SNAPSHOT, taken + timedelta(days=30)) == []
    [problem] = advisories.check(SNAPSHOT, taken + timedelta(days=31))
    assert "31 days old" in problem


def test_a_new_copy_has_what_is_about_the_locked_packages(tmp_path: Path) -> None:
    folder = tmp_path / "vulns"
    for name, package in {
        "pillow/PYSEC-1.yaml": "pillow",
        "pillow/PYSEC-2.yaml": "pillow",
        "other/PYSEC-3.yaml": "other",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        withdrawn = "withdrawn: '2026-01-01T00:00:00Z'\n" if name.endswith("2.yaml") else ""
        (folder / name).write_text(
            f"id: {Path(name).stem}\n{withdrawn}affected:\n- package: {{name: {package}, ecosystem: PyPI}}\n"
            '  ranges:\n  - {type: ECOSYSTEM, events: [{introduced: "0"}, {last_affected: "999"}]}\n'
        )
    for arguments in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"],
    ):
        subprocess.run(["git", "-C", tmp_path, *arguments], check=True)

    snapshot = advisories.take(tmp_path)

    assert [each["id"] for each in snapshot["advisories"]] == ["PYSEC-1"]
    [found] = advisories.find_affected(snapshot, advisories.list_locked())
    assert found.startswith("pillow 13")
    assert advisories.age(snapshot, datetime.now(UTC)) < timedelta(minutes=5)
