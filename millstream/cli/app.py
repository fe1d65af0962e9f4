"""The tree of commands."""

from typing import Annotated

import typer

import millstream
from millstream.cli import (
    config,
    demo,
    doctor,
    job,
    migrate,
    report,
    services,
    sql,
    submit,
    topics,
    up,
)
from millstream.cli.output import out

app = typer.Typer(
    name="millstream",
    help="A multi-tenant worker platform on Kafka.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        out.print(f"millstream {millstream.__version__}")
        raise typer.Exit


app.command("up", rich_help_panel="Start here")(up.up)
app.command("demo", rich_help_panel="Start here")(demo.demo)
app.command("doctor", rich_help_panel="Start here")(doctor.doctor)
app.command("submit", rich_help_panel="Jobs")(submit.submit)
app.add_typer(job.app, name="job", rich_help_panel="Jobs")
app.command("report", rich_help_panel="Answers")(report.report)
app.command("sql", rich_help_panel="Answers")(sql.sql)
app.command("worker", rich_help_panel="Services")(services.worker)
app.command("tracker", rich_help_panel="Services")(services.tracker)
app.command("sink", rich_help_panel="Services")(services.sink)
app.add_typer(topics.app, name="topics", rich_help_panel="Operations")
app.command("migrate", rich_help_panel="Operations")(migrate.migrate)
app.add_typer(config.app, name="config", rich_help_panel="Operations")
