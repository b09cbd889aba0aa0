"""Plant each defect of the list in a copy of the project, and check that its test catches it.

    make planted                            all defects
    make planted only="a-name another"      some of them

A test that never failed proves nothing. The program first runs all named tests on a copy without a defect: they must
pass. Then it plants one defect at a time, and runs the one test that has to fail. It exits with 1 if a defect survives.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from xml.etree import ElementTree as ET

from planted.defect import Defect, DoesNotApply, format_table
from planted.defects import DEFECTS
from service import ROOT

BUILD = ROOT / "build"  # on the same file system as the virtual environment, whose files are linked
TIMEOUT_SECONDS = 300


def copy_project(tree: Path) -> None:
    """Copy all files of the working tree, and link a virtual environment that has the copy installed."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
            modules = Path(name).with_name("node_modules")
            if Path(name).name == "package-lock.json" and (ROOT / modules).exists():
                (tree / modules).symlink_to(ROOT / modules)
    shutil.copytree(sys.prefix, tree / ".venv", symlinks=True, copy_function=os.link)
    for installed in tree.glob(".venv/lib/*/site-packages/__editable__*"):
        text = installed.read_text().replace(str(ROOT), str(tree))
        installed.unlink()  # it is linked to the original
        installed.write_text(text)


def build_gallery(tree: Path) -> None:
    """Build the gallery's script, which is committed, from the copy's sources."""
    environ = os.environ | {"PATH": f"{tree}/.venv/bin{os.pathsep}{os.environ['PATH']}"}
    subprocess.run(["node", "build.mjs"], cwd=tree / "web", env=environ, check=True)


def run_tests(tree: Path, nodes: list[str]) -> tuple[int, int, str]:
    """Run tests of a copy. Return how many failed, how many could not run or did not, and the output."""
    report = tree / "report.xml"
    report.unlink(missing_ok=True)
    command = [
        f"{tree}/.venv/bin/python",
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        f"--junitxml={report}",
        f"--basetemp={tree}/pytest",
        *nodes,
    ]
    try:
        done = subprocess.run(
            command, cwd=tree, check=False, capture_output=True, text=True, timeout=TIMEOUT_SECONDS * len(nodes)
        )
    except subprocess.TimeoutExpired:
        return 0, len(nodes), "The test did not end"
    output = done.stdout + done.stderr
    if not report.exists():
        return 0, len(nodes), output
    [suite] = ET.parse(report).getroot().iter("testsuite")  # noqa: S314  pytest's own report
    number = {name: int(suite.attrib[name]) for name in ("tests", "failures", "errors", "skipped")}
    unable = number["errors"] + (number["skipped"] if number["skipped"] == number["tests"] else 0)
    return number["failures"], unable + (number["tests"] == 0), output


def judge(defect: Defect, tree: Path) -> str | None:
    """Plant a defect, run its test, and return None if that caught it, or else what happened."""
    try:
        before = defect.plant(tree)
    except DoesNotApply as error:
        return f"{error}"
    is_in_page = defect.file.startswith("web/")
    try:
        if is_in_page:
            build_gallery(tree)
        failed, unable, output = run_tests(tree, [defect.caught_by])
    finally:
        defect.heal(tree, before)
        if is_in_page:
            build_gallery(tree)
    if failed:
        return None
    return f"could not be tested\n{output}" if unable else "SURVIVED"


def main(defects: tuple[Defect, ...]) -> int:
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="planted-", dir=BUILD) as folder:
        tree = Path(folder)
        tree.chmod(0o755)  # PostgreSQL's user needs access
        copy_project(tree)
        failed, unable, output = run_tests(tree, sorted({each.caught_by for each in defects}))
        if failed or unable:
            print(output, "A test fails without any defect.", sep="\n")
            return 1
        survivors = 0
        for defect in defects:
            began = time.monotonic()
            fault = judge(defect, tree)
            survivors += fault is not None
            print(f"{defect.name:<40} {time.monotonic() - began:4.0f} s  {fault or 'caught'}", flush=True)
    print(f"{len(defects) - survivors} of {len(defects)} defects were caught")
    return 1 if survivors else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m planted", description=__doc__)
    parser.add_argument("--only", default="", help="names of defects, separated by spaces")
    parser.add_argument("--table", action="store_true", help="print the table in docs/guarantees.md, and do nothing")
    options = parser.parse_args()
    if options.table:
        print(format_table(DEFECTS))
        sys.exit()
    chosen = options.only.split()
    if unknown := set(chosen) - {each.name for each in DEFECTS}:
        sys.exit(f"planted: there is no {', '.join(sorted(unknown))}")
    sys.exit(main(tuple(each for each in DEFECTS if not chosen or each.name in chosen)))
