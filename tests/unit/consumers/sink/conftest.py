"""What the tests of a sink share."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Leaves what a test has entered."""
    with ExitStack() as entered:
        yield entered
