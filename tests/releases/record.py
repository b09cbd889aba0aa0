"""Write down a release's tables: `make record-release`, when it has been made, or with `commit=` another one.

The next release's migrations are compared with them. It is a file and not read from the history, because a clone in CI
may have none.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import TypedDict

from pydantic import SecretStr
from releases.catalog import read_facts
from releases.trees import check_out, git
from service import start_platform_of

from shared_lib.database.connection import Database
from shared_lib.database.schema import read_revision
from shared_lib.settings import Database as DatabaseSettings

FILE = Path(__file__).parent / "last_release.json"


class Release(TypedDict):
    commit: str
    revision: str
    """The number of its newest migration."""
    facts: list[str]


def read_last() -> Release:
    release: Release = json.loads(FILE.read_text())
    return release


def record(commit: str) -> None:
    with check_out(commit) as tree, tempfile.TemporaryDirectory(prefix="record-") as data:
        Path(data).chmod(0o755)  # PostgreSQL's user needs access
        platform = start_platform_of(tree, Path(data), {})
        try:
            database = Database(DatabaseSettings(url=SecretStr(platform.environment["DATABASE_URL"])))
            with database.transaction() as tx:
                facts = read_facts(tx)
            revision = read_revision(database)
            database.disconnect()
        finally:
            platform.stop()
    written = {"commit": git("rev-parse", commit), "revision": revision, "facts": facts}
    FILE.write_text(json.dumps(written, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m releases.record", description=__doc__)
    parser.add_argument("commit", nargs="?", default="HEAD")
    record(parser.parse_args().commit)
