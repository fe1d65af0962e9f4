"""`millstream migrate`"""

from dataclasses import asdict

from rich.text import Text

from millstream import analytics
from millstream import settings as settings_module
from millstream.cli.options import AsJson
from millstream.cli.output import answer
from millstream.clickhouse import connect


def migrate(as_json: AsJson = False) -> None:
    """Bring ClickHouse's tables and views to this release. Safe to repeat."""
    settings = settings_module.load()
    database = settings.clickhouse.database
    applied = analytics.migrate(connect(settings), database)

    def lines() -> Text:
        done = [f"applied {each.version:04d} {each.name}" for each in applied] or ["tables were up to date"]
        return Text("\n".join([*done, f"views of database {database} are those of this release"]))

    answer(as_json, [asdict(each) for each in applied], lines)
