"""`millstream topics`"""

from dataclasses import asdict

import typer
from rich.table import Table

from millstream import settings as settings_module
from millstream.cli.options import AsJson
from millstream.cli.output import answer
from millstream.topics import TopicStatus, apply_topics, inspect_topics

app = typer.Typer(help="Compare the broker's topics with the catalogue; create or correct them.", no_args_is_help=True)


@app.command("list")
def list_topics(as_json: AsJson = False) -> None:
    """Print every topic with its key, partitions, retention, and whether the broker's topic matches."""
    settings = settings_module.load()
    found = inspect_topics(settings.connection.quiet, settings.catalogue)
    answer(as_json, [asdict(each) for each in found], lambda: _table(found, "status"))


@app.command("apply")
def apply(as_json: AsJson = False) -> None:
    """Create missing topics and correct settings that differ. Safe to repeat."""
    settings = settings_module.load()
    before = apply_topics(settings.connection.quiet, settings.catalogue, settings.topics.replication)
    answer(as_json, [asdict(each) for each in before], lambda: _table(before, "was"))


def _table(statuses: list[TopicStatus], column: str) -> Table:
    table = Table("topic", "record", "key", "partitions", "retention", "cleanup", column, box=None, pad_edge=False)
    colours = {"ok": "green", "missing": "red", "differs": "yellow"}
    for each in statuses:
        topic = each.topic
        days = "for ever" if topic.retention_ms is None else f"{topic.retention_ms / 86_400_000:g} days"
        status = f"[{colours[each.status]}]{each.status}[/]"
        if each.status == "differs":
            status += f" ({'; '.join(each.problems)})"
        table.add_row(topic.name, topic.record, topic.key, str(topic.partitions), days, topic.cleanup, status)
    return table
