"""An order that no worker could obey is refused before anything is sent."""

import pytest

from millstream.cli.control import give
from millstream.cli.output import Failure
from millstream.schemas import Action, Scope


@pytest.mark.parametrize(
    ("target", "limits", "said"),
    [
        ("", {}, "target ''"),
        ("acme", {"max_concurrency": -1}, "max_concurrency -1"),
        ("acme", {"weight": 0.0}, "weight 0.0"),
        ("acme", {"max_per_second": float("nan")}, "max_per_second nan"),
    ],
)
def test_it_says_which_value_is_wrong(target: str, limits: dict[str, float], said: str) -> None:
    with pytest.raises(Failure, match=said) as refused:
        give(Action.SET_QUOTA, Scope.TENANT, target, reason="", **limits)  # type: ignore[arg-type]
    assert refused.value.code == 2
