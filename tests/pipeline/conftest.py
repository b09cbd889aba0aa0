"""One sandbox for the whole folder, as one process has in production."""

from collections.abc import Iterator

import pytest

from shared_lib.limits import Limits
from shared_lib.pipeline.sandbox.pool import Sandbox


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    sandbox = Sandbox(Limits())
    yield sandbox
    sandbox.close()
