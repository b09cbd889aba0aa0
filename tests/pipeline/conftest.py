"""One decoder box for the whole folder, as one process has in production."""

from collections.abc import Iterator

import pytest

from shared_lib.limits import Limits
from shared_lib.pipeline.sandbox.pool import DecoderBox


@pytest.fixture(scope="session")
def box() -> Iterator[DecoderBox]:
    box = DecoderBox(Limits())
    yield box
    box.close()
