"""The password of a data folder's server: made once and kept beside the data, readable by its owner only."""

import os
import secrets
from pathlib import Path


def kept_password(folder: Path) -> str:
    """The password in `folder/password`, which is made if it is missing."""
    file = folder / "password"
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        if kept := file.read_text("utf-8").strip():
            return kept
        # Whoever made it ended before it was written.
        descriptor = os.open(file, os.O_WRONLY)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        made = secrets.token_urlsafe(24)
        opened.write(made)
    return made
