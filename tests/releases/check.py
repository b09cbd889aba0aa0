"""Run the last release's functions with the tables of this one, by its own tests: `make check-release`.

As after this release's bootstrap, while the old functions still serve, and after a rollback. Its tests of migrations
and of how it is installed are not among them: those are of its own tables.
"""

import argparse
import os
import subprocess
import sys

from releases.record import read_last
from releases.trees import check_out, replace_schema

TESTS = (
    *("tests/api/test_collections.py", "tests/api/test_images.py", "tests/api/test_many_images.py"),
    *("tests/api/test_multipart_uploads.py", "tests/api/test_originals.py", "tests/api/test_renditions.py"),
    *("tests/api/test_signed_uploads.py", "tests/api/test_uploads.py"),
    *("tests/delivery/test_engine.py", "tests/delivery/test_urls.py", "tests/processing"),
    *("tests/security/test_api_keys.py", "tests/security/test_audit.py", "tests/security/test_rates.py"),
    *("tests/security/test_tenants.py", "tests/survival/test_faults.py"),
)
OF_ITS_TABLES = (
    "--ignore=tests/processing/test_migrations.py",
    "--deselect=tests/processing/test_erasure.py::test_a_deleted_image_keeps_no_content",
    "--deselect=tests/security/test_tenants.py::test_a_forgotten_condition_shows_the_tenants_own_rows_only",
)
"""These list the tables and columns of their own release."""


def check(commit: str, more: list[str]) -> int:
    """Return the exit code of the tests."""
    with check_out(commit) as tree:
        replace_schema(tree)
        tests = [each for each in TESTS if (tree / each).exists()]
        command = [sys.executable, "-m", "pytest", *(more or (*tests, *OF_ITS_TABLES))]
        environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # it is this tree's
        return subprocess.run(command, cwd=tree, env=environ, check=False).returncode


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m releases.check", description=__doc__)
    parser.add_argument("--commit", default=read_last()["commit"], help="default: the last release (%(default).7s)")
    parser.add_argument("words", nargs="*", help="for pytest, in place of the chosen tests")
    options = parser.parse_args()
    sys.exit(check(options.commit, options.words))
