"""The API conforms to its description: schemathesis with all checks and phases, against a service that needs keys.

Its check `ignored_auth` repeats requests without credentials and with wrong ones.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from service import Platform

HERE = Path(__file__).parent
EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES", "10")
"""Cases for each operation. `make conformance` runs many more, and others each time."""
RUNS_ALL = "SCHEMATHESIS_EXAMPLES" in os.environ


@pytest.mark.timeout(3600)
def test_the_api_conforms_to_its_description(guarded: Platform, admin_key: str) -> None:
    run = subprocess.run(
        [
            f"{Path(sys.executable).parent}/schemathesis",
            f"--config-file={HERE / 'schemathesis.toml'}",
            "run",
            f"{guarded.url}/openapi.json",
            "--checks=all",
            f"--max-examples={EXAMPLES}",
            *([] if RUNS_ALL else ["--seed=1"]),
            f"--header=X-API-Key: {admin_key}",
        ],
        cwd=HERE,
        env=os.environ | {"SERVICE_URL": guarded.url, "SERVICE_KEY": admin_key, "PYTHONPATH": f"{HERE}:{HERE.parent}"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]
