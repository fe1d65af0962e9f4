"""The `millstream` command."""

import sys
import traceback

from millstream.cli.app import app
from millstream.cli.failure import as_failure


def main() -> None:
    """Run the command line; `millstream.cli.failure` lists the exit codes."""
    try:
        app()
    except Exception as error:
        failure = as_failure(error)
        if failure is None:
            from millstream.visible import visible_lines

            sys.exit(visible_lines(traceback.format_exc()))
        from millstream.cli.output import print_failure

        sys.exit(print_failure(failure))
