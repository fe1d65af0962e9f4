"""The `millstream` command."""

import sys

from millstream.cli.app import app
from millstream.cli.failure import as_failure


def main() -> None:
    """Run the command line; `millstream.cli.failure` lists the exit codes."""
    try:
        app()
    except Exception as error:
        failure = as_failure(error)
        if failure is None:
            raise
        from millstream.cli.output import print_failure

        sys.exit(print_failure(failure))
