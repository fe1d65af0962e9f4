"""The SQL files of this folder."""

from importlib import resources


def sql_file(name: str) -> str:
    """The text of `NAME.sql`; the name may begin with a folder, as in `rca/sql/incidents`."""
    return (resources.files(__package__) / f"{name}.sql").read_text("utf-8")
