"""`millstream config`"""

import sys

import typer
from rich.table import Table

from millstream import settings as settings_module
from millstream.cli.options import AsJson
from millstream.cli.output import answer
from millstream.settings_reference import reference
from millstream.terminal import cell

app = typer.Typer(help="Show the settings in effect, or the reference of all settings.", no_args_is_help=True)


@app.command("show")
def show(as_json: AsJson = False) -> None:
    """Print the settings in effect, secrets masked."""
    in_force = settings_module.load().model_dump(mode="json")

    def table() -> Table:
        rows = Table("setting", "value", box=None, pad_edge=False)
        for name, value in in_force.items():
            pairs = value.items() if isinstance(value, dict) else [("", value)]
            for inner, each in pairs:
                rows.add_row(f"{name}.{inner}".rstrip("."), cell(each))
        return rows

    answer(as_json, in_force, table)


@app.command("reference")
def print_reference() -> None:
    """Print the reference of all settings as Markdown."""
    sys.stdout.write(reference())
