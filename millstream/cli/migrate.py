"""`millstream migrate`"""

from dataclasses import asdict

from rich.text import Text

from millstream import clickhouse
from millstream import settings as settings_module
from millstream.cli.options import AsJson
from millstream.cli.output import answer


def migrate(as_json: AsJson = False) -> None:
    """Bring ClickHouse's tables and views to this release. Safe to repeat."""
    settings = settings_module.load()
    applied = clickhouse.migrate(settings)
    database = settings.clickhouse.database

    def lines() -> Text:
        done = [f"applied {each.version:04d} {each.name}" for each in applied] or ["tables were up to date"]
        return Text("\n".join([*done, f"views of database {database} are those of this release"]))

    answer(as_json, [asdict(each) for each in applied], lines)
