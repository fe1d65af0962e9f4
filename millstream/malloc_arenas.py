"""How much freed memory the allocator of the C library keeps.

glibc gives each thread an arena of its own, up to eight for each core, and an arena keeps what was freed in it. So a
process whose threads take turns with blocks of a megabyte keeps a multiple of what it ever used at once.
"""

import ctypes
import sys

_M_ARENA_MAX = -8


def share_arenas(most: int) -> None:
    """Let all threads of this process share so many arenas. To be called before they allocate memory; without effect on
    systems with another C library."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_M_ARENA_MAX, most)
