"""Threads share the arenas of the allocator."""

import subprocess
import sys

import pytest

COUNTED = """
import ctypes, sys, tempfile, threading
from millstream.malloc_arenas import share_arenas
if sys.argv[1:]:
    share_arenas(int(sys.argv[1]))
all_run = threading.Barrier(9)
def allocate():
    blocks = [bytes(1000 * number) for number in range(1, 100)]
    all_run.wait()
threads = [threading.Thread(target=allocate) for _ in range(8)]
for each in threads: each.start()
all_run.wait()
for each in threads: each.join()
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
with tempfile.TemporaryFile() as file:
    stream = ctypes.c_void_p(libc.fdopen(file.fileno(), b"w"))
    libc.malloc_info(0, stream)
    libc.fflush(stream)
    file.seek(0)
    print(file.read().count(b"<heap nr="))
"""


def arenas(*most: str) -> int:
    """How many arenas a process has in which eight threads allocate memory at once."""
    return int(subprocess.check_output([sys.executable, "-c", COUNTED, *most]))


@pytest.mark.skipif(sys.platform != "linux", reason="arenas are glibc's")
def test_threads_have_no_more_arenas_than_they_are_to_share() -> None:
    assert arenas() > 2
    assert arenas("2") == 2
