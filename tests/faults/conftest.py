"""What every scenario of faults uses."""

import pytest

from tests.support.scenarios import Scenario


@pytest.fixture
def scenario(request: pytest.FixtureRequest) -> Scenario:
    """Where a scenario reports its progress and its figures."""
    return Scenario(request)
