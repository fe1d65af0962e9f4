"""Package faces that import a module when one of its names is first used (PEP 562).

Importing `millstream.consumers.sink.config` runs `millstream/consumers/sink/__init__.py` first. If that file imported
everything that the package exports, each producer would load the worker and each worker the sink's ClickHouse client.
So a face lists its names twice: as imports below `if TYPE_CHECKING`, which type checkers and editors read, and as a
table of modules, which the interpreter reads. `tests/unit/packaging/test_imports.py` compares the two.

Only `extras` is below this module: a name whose module needs the library of an extra raises `ExtraMissing` without it.
"""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from millstream.extras import importing


def lazy_exports(
    package: str, exports: Mapping[str, tuple[str, ...]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The `__getattr__` and `__dir__` of a package whose names are imported at first use.

    `exports` maps a module, relative to the package (`"kafka.transaction"`), to the names that the package takes from
    it. A name must differ from every module directly inside the package: importing that module would replace the name.
    `__getattr__` raises `AttributeError` for any other name, and what importing the module raises: `ExtraMissing` for a
    name whose extra is not installed.
    """
    modules = {name: f"{package}.{module}" for module, names in exports.items() for name in names}

    def get(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        with importing():
            value = getattr(import_module(modules[name]), name)
        # From now on the name is found without this function.
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *modules})

    return get, names
