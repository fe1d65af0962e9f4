"""Shared by all benches: options, a local stack, progress on stderr, and one JSON line of results.

harness = Harness(__doc__)
with harness.stack() as stack:
    with harness.step("producing", total=rows) as advance:
        ...
harness.finish({"rows_per_s": 123.4})
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path

import structlog
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from millstream import clickhouse
from millstream.analytics import connect
from millstream.local.clickhouse.process import EmbeddedClickHouse
from millstream.local.stack import LocalStack

Value = str | int | float | Sequence[object] | Mapping[str, object] | None


class Harness:
    """One run of one bench. `--quick` reduces the work, `--json` prints the results as the last line of stdout.

    `more` adds options of the bench to the parser; `options` holds their values.
    """

    def __init__(
        self, description: str | None, more: Callable[[argparse.ArgumentParser], object] = lambda _: None
    ) -> None:
        parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("--quick", action="store_true", help="less work, under 45 s")
        parser.add_argument("--json", action="store_true", help="one JSON object on the last line of stdout")
        parser.add_argument("--broker", default="auto", help="auto, apache, tansu or an address (default: auto)")
        parser.add_argument("--clickhouse", metavar="URL", help="a running ClickHouse (default: the embedded engine)")
        more(parser)
        self.options = options = parser.parse_args()
        self.quick: bool = options.quick
        self._json: bool = options.json
        self._broker: str = options.broker
        self._clickhouse: str | None = options.clickhouse
        self._console = Console(stderr=True)
        self._environment: dict[str, Value] = {}
        structlog.configure(
            wrapper_class=structlog.make_filtering_bound_logger(30),
            logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        )

    @contextmanager
    def stack(self) -> Iterator[LocalStack]:
        """Broker and ClickHouse of this run, in a temporary folder; their versions are added to the results."""
        with tempfile.TemporaryDirectory(prefix="millstream-bench-") as folder:
            stack = LocalStack(Path(folder), self._broker, clickhouse_url=self._clickhouse, say=self.say)
            try:
                stack.start()
                server = clickhouse.connect(stack.settings).server_version
                self._environment = {"broker": stack.broker.kind, "clickhouse": server}
                yield stack
            finally:
                stack.stop()

    @contextmanager
    def clickhouse(self) -> Iterator[str]:
        """The address of a ClickHouse without a broker: the one named, or a temporary embedded engine."""
        with ExitStack() as stack:
            url = self._clickhouse
            if url is None:
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="millstream-bench-"))
                url = stack.enter_context(EmbeddedClickHouse(Path(folder), password="")).url
            self._environment = {"clickhouse": connect(url).server_version}
            yield url

    def say(self, text: str) -> None:
        self._console.print(text)

    @contextmanager
    def step(self, name: str, total: int) -> Iterator[Callable[[int], None]]:
        """A progress bar; call the yielded function with the number of units done since the last call."""
        columns = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._console) as progress:
            task = progress.add_task(name, total=total)
            yield lambda done: progress.advance(task, done)

    def finish(self, results: Mapping[str, Value]) -> None:
        """Show the results as a table and, with `--json`, print them with versions, broker and machine."""
        show({**results, **self._environment}, self._json, self.quick)


def show(results: Mapping[str, object], as_json: bool, quick: bool) -> None:
    """The results as a table on stderr and, `as_json`, as the last line of stdout with versions and machine."""
    table = Table(show_header=False)
    for name, value in results.items():
        if isinstance(value, Mapping):
            continue
        table.add_row(name, _readable(value))
    Console(stderr=True).print(table)
    if as_json:
        print(json.dumps({**results, **_machine(), "quick": quick}), flush=True)


def _readable(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.3f}" if value < 10 else f"{value:,.1f}"
    return str(value)


class Stopwatch:
    """Rate between the first and the last call."""

    def __init__(self) -> None:
        self._began: float | None = None

    def begin(self) -> None:
        """Starts at the first call; later ones change nothing."""
        if self._began is None:
            self._began = time.perf_counter()

    def per_second(self, count: int) -> float:
        assert self._began is not None, "nothing has begun"
        return round(count / (time.perf_counter() - self._began), 1)


def _machine() -> dict[str, Value]:
    return {
        "cpu_count": os.cpu_count(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "millstream": version("millstream"),
        "packages": {name: version(name) for name in ("confluent-kafka", "clickhouse-connect", "fastavro")},
    }
