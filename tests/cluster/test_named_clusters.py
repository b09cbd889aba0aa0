"""The acceptance test of an installation only connects to the cluster that the user names."""

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
    """Run it with a kubeconfig that has one context, of an unreachable cluster."""
    (folder / "kubeconfig").write_text(KUBECONFIG)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/cluster/check_installation.py"]
    variables = {**os.environ, "KUBECONFIG": f"{folder / 'kubeconfig'}", **environ}
    return subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False, timeout=110)


def test_without_a_context_no_cluster_is_contacted(tmp_path: Path) -> None:
    done = check(tmp_path)

    assert done.returncode == 2
    assert "make test-cluster context=" in done.stdout
    assert "production" in done.stdout


def test_the_error_for_an_unreachable_cluster_names_it_and_the_reason(tmp_path: Path) -> None:
    done = check(tmp_path, CLUSTER_CONTEXT="production")

    assert done.returncode == 3
    assert "The installation in production is not ready" in done.stdout
    assert "127.0.0.1:1" in done.stdout
