"""The acceptance test of an installation asks nothing of a cluster that nobody named."""

import os
import subprocess
import sys
from pathlib import Path

from service import ROOT

KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{name: precious, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: me, user: {}}]
contexts: [{name: production, context: {cluster: precious, user: me}}]
current-context: production
"""


def check(folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run it, with a kubectl that knows one context, which leads nowhere."""
    (folder / "kubeconfig").write_text(KUBECONFIG)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/cluster/check_installation.py"]
    told = {**os.environ, "KUBECONFIG": f"{folder / 'kubeconfig'}", **environ}
    return subprocess.run(command, cwd=ROOT, env=told, capture_output=True, text=True, check=False, timeout=110)


def test_a_cluster_that_was_not_named_is_not_looked_at(tmp_path: Path) -> None:
    done = check(tmp_path)

    assert done.returncode == 2
    assert "make test-cluster context=" in done.stdout
    assert "production" in done.stdout


def test_a_cluster_that_does_not_answer_is_named_with_the_reason(tmp_path: Path) -> None:
    done = check(tmp_path, CLUSTER_CONTEXT="production")

    assert done.returncode == 3
    assert "The installation in production is not whole" in done.stdout
    assert "127.0.0.1:1" in done.stdout
