"""A shell completes commands, their commands, options and choices; only the command that is typed is imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


def offered(typed: str) -> list[str]:
    """What bash would be offered for the last word of a command line."""
    environment = {
        **os.environ,
        "_MILLSTREAM_COMPLETE": "complete_bash",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(typed.split(" ")) - 1),
    }
    done = subprocess.run(
        [str(Path(sys.executable).with_name("millstream"))],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.split()


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("millstream rc", ["rca"]),
        ("millstream rca noi", ["noisy-neighbours"]),
        ("millstream submit --ten", ["--tenant"]),
        ("millstream commands pause ", ["tenant", "job_type", "lane"]),
        ("millstream commands revoke ", ["cancel_job", "pause", "set_quota"]),
    ],
)
def test_what_is_offered(typed: str, expected: list[str]) -> None:
    assert offered(typed) == expected
