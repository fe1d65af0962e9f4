"""The folder of a local stack: one owner at a time, and one who is refused changes nothing."""

import fcntl
import json
import os
from pathlib import Path

import pytest

from millstream.local.stack import LocalStack, StackRunning


def test_a_second_stack_in_a_folder_is_refused_and_leaves_the_first_ones_addresses(tmp_path: Path) -> None:
    addresses = tmp_path / "stack.json"
    addresses.write_text(json.dumps({"pid": os.getpid(), "settings": {}}))
    with (tmp_path / "stack.lock").open("a+") as owner:
        fcntl.flock(owner, fcntl.LOCK_EX)
        with pytest.raises(StackRunning, match=f"process {os.getpid()} runs a local stack"), LocalStack(tmp_path):
            pass
    assert addresses.exists()


def test_a_stack_that_is_still_starting_is_not_disturbed_either(tmp_path: Path) -> None:
    with (tmp_path / "stack.lock").open("a+") as owner:
        fcntl.flock(owner, fcntl.LOCK_EX)
        with pytest.raises(StackRunning, match="is starting"):
            LocalStack(tmp_path).start()
