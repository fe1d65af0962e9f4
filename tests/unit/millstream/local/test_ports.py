"""Ports that several stacks of a machine prefer: one has each, before it listens."""

import socket
import subprocess
import sys

from millstream.local.ports import claim, free_port

CLAIM = "import sys; from millstream.local.ports import claim; print(claim(int(sys.argv[1])))"


def test_a_claimed_port_is_not_claimed_by_another_process() -> None:
    port = free_port()
    assert claim(port) and claim(port)
    other = subprocess.run([sys.executable, "-c", CLAIM, str(port)], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == "False"


def test_a_port_that_something_else_listens_on_is_not_claimed() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert not claim(taken.getsockname()[1])
