"""The tree of commands."""

from typing import Annotated

import typer

from millstream.cli.lazy_command import CommandEntry, group_of

COMMANDS = (
    CommandEntry(
        "up",
        "up:up",
        "Start here",
        "Start everything on this machine: broker, ClickHouse, topics, tables, workers, tracker and sink.",
    ),
    CommandEntry(
        "demo",
        "demo:demo",
        "Start here",
        "Run a workload end to end on this machine: submit, execute, track, store, report, and count at every source.",
    ),
    CommandEntry(
        "doctor",
        "doctor:doctor",
        "Start here",
        "Check brokers, topics, running services, ClickHouse, tables and clocks, and print a fix for each problem.",
    ),
    CommandEntry("submit", "submit:submit", "Jobs", "Submit a job and print its id once Kafka has acknowledged it."),
    CommandEntry("job", "job:app", "Jobs", "Show or cancel one job."),
    CommandEntry(
        "report",
        "report:report",
        "Answers",
        "Throughput, latency, failures and cost of a span of time, and the timeline of one example job.",
    ),
    CommandEntry(
        "rca", "rca:app", "Answers", "Root cause analysis: what changed, since when and where, with evidence."
    ),
    CommandEntry(
        "sql",
        "sql:sql",
        "Answers",
        "Query ClickHouse. The prompt completes tables, columns, views and their parameters, and keeps a history.",
    ),
    CommandEntry(
        "simulate",
        "simulate:simulate_command",
        "Answers",
        "Simulate other numbers of workers: replays recorded first attempts through a model of lanes and workers.",
    ),
    CommandEntry("cost", "cost:cost", "Answers", "What jobs cost."),
    CommandEntry(
        "prices", "cost:prices", "Operations", "The price book: the price of each machine type, and when it applies."
    ),
    CommandEntry("budgets", "cost:budgets", "Operations", "Monthly budgets of tenants, and which ones are exceeded."),
    CommandEntry("worker", "worker:worker", "Services", "Execute jobs."),
    CommandEntry(
        "tracker",
        "services:tracker",
        "Services",
        "Keep the current state of each job and serve it at `GET /jobs/{id}`.",
    ),
    CommandEntry(
        "sink",
        "services:sink",
        "Services",
        "Write events, heartbeats, alerts, dead letters and changes to ClickHouse, each exactly once.",
    ),
    CommandEntry(
        "topics",
        "topics:app",
        "Operations",
        "Compare the broker's topics with the catalogue; create or correct them.",
    ),
    CommandEntry(
        "commands", "commands:app", "Operations", "Commands to all workers; they stay active after a restart."
    ),
    CommandEntry(
        "acls",
        "acls:acls",
        "Operations",
        "Print the least Kafka rights of each service and command, with the configured topics and groups.",
    ),
    CommandEntry(
        "migrate",
        "migrate:migrate",
        "Operations",
        "Bring ClickHouse's tables and views to this release. Safe to repeat.",
    ),
    CommandEntry(
        "tables",
        "tables:app",
        "Operations",
        "Compare the tables that ClickHouse fills with the raw rows; rebuild what disagrees.",
    ),
    CommandEntry(
        "analysts",
        "analysts:app",
        "Operations",
        "Roles for reading ClickHouse: who may read what, and how much at once.",
    ),
    CommandEntry(
        "config", "config:app", "Operations", "Show the settings in effect, or the reference of all settings."
    ),
)

app = typer.Typer(
    name="millstream",
    help="A multi-tenant worker platform on Kafka.",
    cls=group_of(COMMANDS),
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        from millstream.version import __version__

        typer.echo(f"millstream {__version__}")
        raise typer.Exit
