"""The tree of commands."""

from typing import Annotated

import typer

import millstream
from millstream.cli.analysts import app as analyst_commands
from millstream.cli.commands import app as control_commands
from millstream.cli.config import app as config_commands
from millstream.cli.cost import budgets as budget_commands
from millstream.cli.cost import cost as cost_commands
from millstream.cli.cost import prices as price_commands
from millstream.cli.demo import demo
from millstream.cli.doctor import doctor
from millstream.cli.job import app as job_commands
from millstream.cli.migrate import migrate
from millstream.cli.output import out
from millstream.cli.rca import app as rca_commands
from millstream.cli.report import report
from millstream.cli.services import sink, tracker, worker
from millstream.cli.simulate import simulate_command
from millstream.cli.sql import sql
from millstream.cli.submit import submit
from millstream.cli.topics import app as topic_commands
from millstream.cli.up import up

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


app.command("up", rich_help_panel="Start here")(up)
app.command("demo", rich_help_panel="Start here")(demo)
app.command("doctor", rich_help_panel="Start here")(doctor)
app.command("submit", rich_help_panel="Jobs")(submit)
app.add_typer(job_commands, name="job", rich_help_panel="Jobs")
app.command("report", rich_help_panel="Answers")(report)
app.add_typer(rca_commands, name="rca", rich_help_panel="Answers")
app.command("sql", rich_help_panel="Answers")(sql)
app.command("simulate", rich_help_panel="Answers")(simulate_command)
app.add_typer(cost_commands, name="cost", rich_help_panel="Answers")
app.add_typer(price_commands, name="prices", rich_help_panel="Operations")
app.add_typer(budget_commands, name="budgets", rich_help_panel="Operations")
app.command("worker", rich_help_panel="Services")(worker)
app.command("tracker", rich_help_panel="Services")(tracker)
app.add_typer(sink, name="sink", rich_help_panel="Services")
app.add_typer(topic_commands, name="topics", rich_help_panel="Operations")
app.add_typer(control_commands, name="control", rich_help_panel="Operations")
app.command("migrate", rich_help_panel="Operations")(migrate)
app.add_typer(analyst_commands, name="analysts", rich_help_panel="Operations")
app.add_typer(config_commands, name="config", rich_help_panel="Operations")
