"""`millstream report`"""

from dataclasses import asdict

from millstream import settings as settings_module
from millstream.cli.options import AsJson
from millstream.cli.output import answer, out
from millstream.cli.timespan import From, Last, To, timespan
from millstream.clickhouse import connect
from millstream.pages.report import gather, render


def report(last: Last = "1h", start: From = None, end: To = None, as_json: AsJson = False) -> None:
    """Throughput, latency, failures and cost of a span of time, and the timeline of one example job.

    Examples:

      millstream report --last 15m

      millstream report --from 2026-11-24T10:00:00 --to 2026-11-24T11:00:00 --json
    """
    since, until = timespan(last, start, end)
    found = gather(connect(settings_module.load()), since, until)
    answer(as_json, asdict(found), lambda: render(found, out.width))
