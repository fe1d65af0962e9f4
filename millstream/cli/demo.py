"""`millstream demo`"""

import os
from pathlib import Path
from typing import Annotated

import typer

from millstream.cli.failure import Failure
from millstream.cli.output import err, out
from millstream.demo.run import Demo, DemoPlan
from millstream.demo.trace import UnreadableTrace


def demo(
    jobs: Annotated[int, typer.Option(min=1, help="Jobs of the generated workload.")] = 6_000,
    trace: Annotated[Path | None, typer.Option(envvar="DEMO_TRACE", help="A recorded trace to replay instead.")] = None,
    seconds: Annotated[float, typer.Option(min=1, help="Duration that the workload is compressed to.")] = 25.0,
    broker: Annotated[str, typer.Option(envvar="DEMO_BROKER", help="auto, apache, tansu, or HOST:PORT.")] = "auto",
    brokers: Annotated[int, typer.Option(help="Kafka nodes: 1 or 3.")] = 1,
    kill: Annotated[
        bool, typer.Option("--kill", help="Kill one worker with SIGKILL half way (or DEMO_KILL=1).")
    ] = False,
) -> None:
    """Run a workload end to end on this machine: submit, execute, track, store, report, and count at every source.

    The last line of stdout has the count of each source; the exit code is 1 when they differ.

    Examples:

      millstream demo

      millstream demo --kill

      millstream demo --trace helios.csv.gz --broker apache
    """
    plan = DemoPlan(jobs, trace, seconds, broker, brokers, kill or os.environ.get("DEMO_KILL", "") not in ("", "0"))
    try:
        result = Demo(plan, out, err).run()
    except UnreadableTrace as error:
        raise Failure(str(error), code=2) from error
    out.print(result.line, soft_wrap=True)
    if not result.agrees:
        raise typer.Exit(1)
