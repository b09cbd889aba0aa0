"""Another release's tree, and the service that runs from it."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service import ROOT

SCHEMA = (
    "shared_lib/database/migrations",
    "shared_lib/database/rights.py",
    "infra/k8s/components/postgres/roles.sql",
)
"""All that decides what the tables are, and who may use them."""


def git(*words: str) -> str:
    command = ["git", "-C", f"{ROOT}", *words]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


@contextmanager
def check_out(commit: str) -> Iterator[Path]:
    """Yield the tree of a commit. It runs with this tree's packages."""
    resolved = git("rev-parse", "--verify", f"{commit}^{{commit}}")
    with tempfile.TemporaryDirectory(prefix="release-") as folder:
        Path(folder).chmod(0o755)  # PostgreSQL's user needs access
        tree = Path(folder) / "tree"
        git("worktree", "add", "--quiet", "--detach", f"{tree}", resolved)
        try:
            yield tree
        finally:
            git("worktree", "remove", "--force", f"{tree}")


def replace_schema(tree: Path) -> None:
    """Give another release's tree this one's tables: as if it ran after this release's bootstrap."""
    for each in SCHEMA:
        subprocess.run(["rm", "-rf", f"{tree / each}"], check=True)
        subprocess.run(["cp", "-r", f"{ROOT / each}", f"{tree / each}"], check=True)
