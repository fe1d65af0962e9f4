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


def test_services_of_a_stack_that_mostly_waits_fetch_rarely_unless_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MILLSTREAM_SINK__FETCH_WAIT_MS", "700")
    names = {"MILLSTREAM_WORKER__FETCH_WAIT_MS", "MILLSTREAM_SINK__FETCH_WAIT_MS"}
    assert not LocalStack(tmp_path).environment.keys() & names
    resident = LocalStack(tmp_path, resident=True).environment
    assert resident.keys() & names == {"MILLSTREAM_WORKER__FETCH_WAIT_MS"}
    assert resident["MILLSTREAM_WORKER__FETCH_WAIT_MS"] == "1000"
