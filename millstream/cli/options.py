"""Options that several commands take."""

from pathlib import Path
from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document for a machine.")]
AsHtml = Annotated[Path | None, typer.Option("--html", help="Write the answer to this file as one HTML page.")]
