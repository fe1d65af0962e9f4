"""The prompt of `millstream sql`: completion of tables, columns and views with their parameters, history, colours."""

from collections.abc import Callable, Iterable
from pathlib import Path

from clickhouse_connect.driver.client import Client
from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import HTML
from prompt_toolkit.history import FileHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.lexers import PygmentsLexer
from pygments.lexers.sql import SqlLexer

from millstream.analytics.warehouse.catalogue import View, views

HISTORY = Path.home() / ".millstream_sql_history"
KEYWORDS = (
    *("SELECT", "FROM", "WHERE", "GROUP BY", "ORDER BY", "LIMIT", "HAVING", "JOIN", "LEFT JOIN", "ON", "AS", "WITH"),
    *(
        "DISTINCT",
        "UNION ALL",
        "AND",
        "OR",
        "NOT",
        "IN",
        "BETWEEN",
        "DESC",
        "INTERVAL",
        "SHOW TABLES",
        "DESCRIBE TABLE",
    ),
)
HELP = r"""\v            every view and its question
\v VIEW       a view's parameters, columns and example
\f FORMAT     table, csv, json, jsonl or parquet from now on
\o FILE       results go to the file, \o alone: to the screen
\q            leave (ctrl-D does the same)
A query ends with ; or with an empty line."""


class SqlCompleter(Completer):
    """Completes a word from the database's own names; after the opening bracket of a view, from its parameters."""

    def __init__(self, names: Iterable[str], known: Iterable[View]) -> None:
        """`names` are tables, columns and functions."""
        self._views = {view.name: view for view in known}
        self._words = dict.fromkeys(names, "") | dict.fromkeys(KEYWORDS, "keyword")
        self._words |= {name: view.question for name, view in self._views.items()}

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        before = document.text_before_cursor
        word = document.get_word_before_cursor(pattern=None)
        word = word.rpartition("(")[2].rpartition(",")[2]
        if view := self._open_call(before):
            given = before.rpartition(f"{view.name}(")[2]
            for name, kind in view.parameters.items():
                if name.startswith(word) and f"{name}=" not in given.replace(" ", ""):
                    yield Completion(f"{name}=", -len(word), display_meta=kind)
            return
        if not word and not complete_event.completion_requested:
            return
        for name, meaning in self._words.items():
            if name.lower().startswith(word.lower()):
                text = f"{name}(" if name in self._views else name
                yield Completion(text, -len(word), display=name, display_meta=meaning)

    def _open_call(self, before: str) -> View | None:
        """The view whose bracket is open at the cursor."""
        depth = 0
        for position in range(len(before) - 1, -1, -1):
            depth += (before[position] == ")") - (before[position] == "(")
            if depth < 0:
                name = before[:position].split()[-1:] or [""]
                return self._views.get(name[0].rpartition(",")[2].rpartition("(")[2])
        return None


def run(client: Client, ask: Callable[[str, str, Path | None], None], say: Callable[[str], None]) -> None:
    """Read queries until the end. `ask` runs one and prints its result in a format, or writes it to a file."""
    session: PromptSession[str] = PromptSession(
        history=FileHistory(str(HISTORY)),
        completer=SqlCompleter(_names(client), views()),
        complete_while_typing=True,
        lexer=PygmentsLexer(SqlLexer),
        multiline=True,
        prompt_continuation="... ",
        key_bindings=_bindings(),
        bottom_toolbar=HTML(r"<b>\h</b> help  <b>\v</b> views  <b>tab</b> completes  <b>ctrl-D</b> leaves"),
    )
    output_format, file = "table", None
    while True:
        try:
            text = session.prompt("millstream> ").strip().rstrip(";").strip()
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
        command, _, argument = text.partition(" ")
        argument = argument.strip()
        if text in ("exit", "quit", r"\q"):
            return
        if command == r"\h":
            say(HELP)
        elif command == r"\v":
            say(described(argument))
        elif command == r"\f":
            output_format = argument or "table"
            say(f"output format: {output_format}")
        elif command == r"\o":
            file = Path(argument) if argument else None
            say(f"results go to {file or 'the screen'}")
        elif text:
            ask(text, output_format, file)


def described(name: str) -> str:
    """The description of a view; a line for each view when `name` is empty."""
    found = {view.name: view for view in views()}
    if not name:
        return "\n".join(f"{view.name:<26} {view.question}" for view in found.values() if not view.is_part)
    if name not in found:
        return f"there is no view {name!r}; \\v lists them"
    view = found[name]
    columns = ", ".join(column.name for column in view.columns)
    notes = "".join(f"\n{note}" for note in view.notes)
    return f"{view.question}{notes}\nParameters: {view.parameter_text}\nColumns: {columns}\n{view.example}"


def _bindings() -> KeyBindings:
    """Enter sends what ends with a semicolon, is a command of the prompt, or ends with an empty line."""
    bindings = KeyBindings()

    @bindings.add("enter")
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        text = buffer.document.text
        if (
            not text.strip()
            or text.rstrip().endswith(";")
            or text.startswith("\\")
            or text.endswith("\n")
            or text.strip() in ("exit", "quit")
        ):
            buffer.validate_and_handle()
        else:
            buffer.insert_text("\n")

    return bindings


def _names(client: Client) -> list[str]:
    rows = client.query(
        "SELECT name FROM system.tables WHERE database = {database:String} "
        "UNION DISTINCT SELECT name FROM system.columns WHERE database = {database:String} "
        "UNION DISTINCT SELECT name FROM system.functions WHERE is_aggregate OR origin != 'System' OR length(name) > 3",
        parameters={"database": client.database},
    ).result_columns[0]
    return sorted(map(str, rows))
