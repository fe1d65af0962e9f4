"""`millstream topics`"""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from millstream import settings as settings_module
from millstream.cli.failure import Failure
from millstream.cli.kafka_access import accepted_connection
from millstream.cli.options import AsJson
from millstream.cli.output import answer, err
from millstream.settings import Settings
from millstream.terminal import cell, styled
from millstream.topic_growth import GrowthRefused, TopicGrowth, plan_growth
from millstream.topics import TopicStatus, apply_topics, inspect_topics
from millstream.visible import visible

app = typer.Typer(help="Compare the broker's topics with the catalogue; create or correct them.", no_args_is_help=True)

Grow = Annotated[bool, typer.Option("--grow", help="Add partitions to topics that have fewer; takes 45 s.")]


@app.command("list")
def list_topics(as_json: AsJson = False) -> None:
    """Print every topic with its key, partitions, retention, and whether the broker's topic matches."""
    settings = settings_module.load()
    found = inspect_topics(accepted_connection(settings), settings.catalogue, settings.topics.replication)
    answer(as_json, [asdict(each) for each in found], lambda: _table(found))


@app.command("apply")
def apply(as_json: AsJson = False, grow: Grow = False) -> None:
    """Create missing topics and correct settings that differ; print every topic as it is then. Safe to repeat.

    Partitions are added with --grow only, because keys change their partition: the state of a running job is unknown to
    the tracker until its next event, and jobs in the new partitions wait for those before them. Keys stay in order.
    """
    settings = settings_module.load()
    connection, catalogue = accepted_connection(settings), settings.catalogue
    found = apply_topics(connection, catalogue, settings.topics.replication)
    if grow:
        _grow(settings, found)
        found = inspect_topics(connection, catalogue, settings.topics.replication)
    answer(as_json, [asdict(each) for each in found], lambda: _table(found))
    if small := [each for each in found if each.must_grow]:
        raise Failure(
            f"{len(small)} topics have fewer partitions than topics.partitions: {small[0].topic.name} has "
            f"{small[0].partitions}",
            "`millstream topics apply --grow` adds them; see `millstream topics apply --help` for what that does",
        )


def _grow(settings: Settings, found: list[TopicStatus]) -> None:
    try:
        growth = plan_growth({each.topic.name: each.partitions for each in found}, settings.catalogue)
    except GrowthRefused as error:
        raise Failure(str(error), "nothing was grown", code=2) from error
    TopicGrowth(settings.connection.quiet, settings.catalogue, lambda text: err.print(styled((text, "dim")))).grow(
        growth
    )


def _table(statuses: list[TopicStatus]) -> Table:
    table = Table(
        "topic", "record", "key", "partitions", "replicas", "retention", "cleanup", "status", box=None, pad_edge=False
    )
    colours = {"ok": "green", "missing": "red", "differs": "yellow"}
    for each in statuses:
        topic = each.topic
        days = "for ever" if topic.retention_ms is None else f"{topic.retention_ms / 86_400_000:g} days"
        status = cell(each.status, colours[each.status])
        if each.status == "differs":
            status.append(visible(f" ({'; '.join(each.problems)})"))
        has = (str(each.partitions or topic.partitions), str(each.replicas or ""))
        table.add_row(topic.name, topic.record, topic.key, *has, days, topic.cleanup, status)
    return table
