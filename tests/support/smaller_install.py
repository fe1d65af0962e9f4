"""An interpreter that finds only what the package, or one of its extras, installs, although more is installed."""

import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.paths import ROOT

HIDING = """
import sys

class Hiding:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in HIDDEN else self.finder.find_spec(name, path, target)

HIDDEN = {hidden!r}
sys.meta_path[:] = map(Hiding, sys.meta_path)
"""


@cache
def installed_by(extra: str = "") -> frozenset[str]:
    """The distributions that `millstream[extra]` installs, by the metadata of those that are installed here."""
    found: set[tuple[str, frozenset[str]]] = set()
    wanted = [Requirement(f"millstream[{extra}]" if extra else "millstream")]
    while wanted:
        each = wanted.pop()
        key = canonicalize_name(each.name), frozenset(each.extras)
        if key in found:
            continue
        found.add(key)
        try:
            requirements = map(Requirement, requires(each.name) or ())
        except PackageNotFoundError:
            # For another platform or Python.
            continue
        wanted += [one for one in requirements if _applies(one, each.extras)]
    return frozenset(name for name, _ in found)


@cache
def modules_of(extra: str = "") -> frozenset[str]:
    """The top-level modules of these distributions."""
    return frozenset(module for module, names in homes().items() if names & installed_by(extra))


@cache
def homes() -> dict[str, set[str]]:
    """Each top-level module that is installed, with the distributions that it is from."""
    return {module: set(map(canonicalize_name, names)) for module, names in packages_distributions().items()}


def run_with(extra: str, code: str) -> "subprocess.CompletedProcess[str]":
    """Run `code` in an interpreter that does not find what `millstream[extra]` leaves out."""
    hidden = homes().keys() - modules_of(extra)
    code = HIDING.format(hidden=hidden) + code
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)


def _applies(requirement: Requirement, extras: set[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": each}) for each in (*extras, ""))
