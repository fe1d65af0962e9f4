"""The kernel's own limit to what this process reaches (Landlock, Linux 5.13 and later): the second line after the
restrictions of statements, should a way around them exist."""

import ctypes
import os
import struct
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

# The same numbers on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_GET_VERSION, _PATH_BENEATH = 1, 1
_NO_NEW_PRIVILEGES = 38

# Access to files: bits 0 to 12 from the first version of Landlock on, one more in each of these.
_EXECUTE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 2, 1 << 3
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_WRITE_FILE = 1 << 1
_FILE_BITS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_CONNECT_TCP, _CONNECT_SINCE = 1 << 1, 4
_SIGNALS, _SIGNALS_SINCE = 1 << 1, 6

_SYSTEM = ("/usr", "/lib", "/lib64", "/proc", "/sys", "/dev/urandom", "/etc/localtime", "/etc/ld.so.cache")


def confine(folder: Path) -> bool:
    """From now on this thread, and every thread that it starts, writes only below `folder`, reads only there and where
    programs and their libraries are, opens no TCP connection and signals no other process.

    Returns whether the kernel does so; False on another system, and on a kernel without Landlock.
    """
    if sys.platform != "linux":
        return False
    kernel = ctypes.CDLL(None, use_errno=True)
    version = kernel.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _GET_VERSION)
    if version < 1:
        return False
    everything = (1 << _FILE_BITS[min(version, max(_FILE_BITS))]) - 1
    network = _CONNECT_TCP if version >= _CONNECT_SINCE else 0
    scope = _SIGNALS if version >= _SIGNALS_SINCE else 0
    fields = [everything, *([network] if network else []), *([scope] if scope else [])]
    attributes = struct.pack(f"={len(fields)}Q", *fields)
    rules = kernel.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    if rules < 0:
        return False
    try:
        _allow(kernel, rules, [folder], everything)
        _allow(kernel, rules, map(Path, _SYSTEM), _READ)
        _allow(kernel, rules, _python_folders(), _READ)
        _allow(kernel, rules, [Path("/dev/null")], _READ | _WRITE_FILE)
        confined = kernel.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0 and kernel.syscall(_RESTRICT_SELF, rules, 0) == 0
        return bool(confined)
    finally:
        os.close(rules)


def _python_folders() -> Iterator[Path]:
    """The interpreter, its libraries, and this package; not the current folder, of which Python makes one of them."""
    here = Path.cwd()
    package = Path(sys.modules["millstream"].__file__ or "").resolve().parent.parent
    for each in {Path(sys.prefix), Path(sys.base_prefix), *map(Path, filter(None, sys.path))}:
        if each.resolve() != here:
            yield each
    # A checkout's folders are symbolic links beside the package.
    yield from (package / name for name in ("millstream", "analytics", "consumers", "producers", "schemas", "streams"))


def _allow(kernel: ctypes.CDLL, rules: int, paths: Iterable[Path], access: int) -> None:
    for path in paths:
        try:
            opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            of_files = access if path.is_dir() else access & (_EXECUTE | _WRITE_FILE | _READ_FILE)
            kernel.syscall(_ADD_RULE, rules, _PATH_BENEATH, struct.pack("=Qi", of_files, opened), 0)
        finally:
            os.close(opened)
