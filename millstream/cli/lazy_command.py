"""Commands whose module is imported when they run or print their help, not when `millstream` starts."""

from dataclasses import dataclass
from importlib import import_module
from inspect import cleandoc
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

from millstream.extras import ExtraMissing, importing


@dataclass(frozen=True)
class CommandEntry:
    """One line of `millstream --help`.

    `target` is `module:name` below `millstream.cli`: a function for a command, a `typer.Typer` for a group of them.
    `help` is the first sentence of that command's own help, repeated here so that listing it needs no import.
    """

    name: str
    target: str
    panel: str
    help: str

    def load(self) -> Any:
        """Import the module and build the command."""
        module, attribute = self.target.split(":")
        found = getattr(import_module(f"millstream.cli.{module}"), attribute)
        if isinstance(found, typer.Typer):
            group: Any = get_group(found)
            for each in [group, *group.commands.values()]:
                _tidy_help(each)
            return group
        single = typer.Typer(add_completion=False)
        single.command(self.name)(found)
        command: Any = get_command(single)
        _tidy_help(command)
        return command


class LazyCommand(TyperCommand):
    """Stands for a command in the list of a group until the command line names it."""

    def __init__(self, entry: CommandEntry) -> None:
        super().__init__(entry.name, help=entry.help, rich_help_panel=entry.panel)
        self._entry = entry

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """The context of the real command: its parser, its help and its function are used from here on.

        Raises `ExtraMissing` when a library of it is not installed; its help is then what the list says of it.
        """
        try:
            with importing():
                command = self._entry.load()
        except ExtraMissing as error:
            if "--help" not in args:
                raise
            _tidy_help(self)
            self.epilog = f"The options are listed after: pip install 'millstream\\[{error.extra}]'"
            return super().make_context(info_name, args, parent, **extra)
        return command.make_context(info_name, args, parent, **extra)


def group_of(entries: tuple[CommandEntry, ...]) -> type[TyperGroup]:
    """A class for `typer.Typer(cls=...)`: a group with these commands."""

    class LazyGroup(TyperGroup):
        def __init__(self, **attributes: Any) -> None:
            super().__init__(**attributes)
            _tidy_help(self)
            for entry in entries:
                self.add_command(LazyCommand(entry))

        def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
            """The context; the options of completion are there only now."""
            _tidy_help(self)
            return super().make_context(info_name, args, parent, **extra)

    return LazyGroup


def _tidy_help(command: Any) -> None:
    """Let help join the lines of a paragraph, which end where the docstring's do, and say nothing of a flag's type: it
    takes no value."""
    if command.help:
        command.help = "\n\n".join(" ".join(each.split()) for each in cleandoc(command.help).split("\n\n"))
    for option in [*command.params, command.get_help_option(command.context_class(command))]:
        if getattr(option, "is_flag", False):
            option.metavar = ""
