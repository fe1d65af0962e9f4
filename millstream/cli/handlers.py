"""Loading the modules that hold a project's handlers."""

import importlib
import sys
from pathlib import Path

from millstream.cli.failure import Failure
from millstream.consumers.worker import JobTypes, registered


def load_handlers(modules: list[str]) -> JobTypes:
    """Import the modules, found from the current folder first, and return the job types they registered.

    Raises `Failure` when a module cannot be imported or none of them registers a job type.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    for name in modules:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            raise Failure(
                f"cannot import {name!r}: {error}",
                f"modules are searched in {here} and in the environment of {sys.executable}",
                code=2,
            ) from error
        except SystemExit as error:
            raise Failure(
                f"importing {name!r} failed: it ends the process (exit code {error.code})",
                'put what a program does under `if __name__ == "__main__":`',
                code=2,
            ) from error
        except Exception as error:
            raise Failure(f"importing {name!r} failed: {type(error).__name__}: {error}", code=2) from error
    if not len(registered):
        raise Failure(
            f"no job type is registered by {', '.join(modules)}", 'decorate a handler with @job("my.type")', code=2
        )
    return registered
