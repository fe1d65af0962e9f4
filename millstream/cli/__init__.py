"""The `millstream` command."""

import sys
import traceback

from millstream.cli.failure import as_failure
from millstream.extras import ExtraMissing, importing


def main() -> None:
    """Run the command line; `millstream.cli.failure` lists the exit codes."""
    try:
        with importing():
            from millstream.cli.app import app
    except ExtraMissing as error:
        # What prints errors in the terminal comes with the same extra.
        sys.stderr.write(f"error {error}\n")
        sys.exit(2)
    try:
        with importing():
            app()
    except Exception as error:
        failure = as_failure(error)
        if failure is None:
            from millstream.redaction import Redaction
            from millstream.visible import visible_lines

            sys.exit(visible_lines(Redaction()(traceback.format_exc())))
        from millstream.cli.output import print_failure

        sys.exit(print_failure(failure))
