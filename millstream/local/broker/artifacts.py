"""Apache Kafka's jars, downloaded once by Maven into the user's cache folder."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from importlib import resources
from pathlib import Path

from millstream.local.process import ChildProcess, DidNotStart

KAFKA_VERSION = "4.3.1"
JARS = 42
"""Approximate number of jars, for the progress line."""


def kafka_jars(say: Callable[[str], None]) -> Path:
    """The folder with the jars; downloads them first if they are missing.

    Safe to call from several processes at once: one downloads, the others wait. Raises `DidNotStart` with the end of
    Maven's output.
    """
    home = cache_folder()
    ready = home / f"kafka-{KAFKA_VERSION}"
    if ready.is_dir():
        return ready
    home.mkdir(parents=True, exist_ok=True)
    with (home / "kafka.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.is_dir():
            with tempfile.TemporaryDirectory(dir=home) as working:
                _fetch(Path(working), say)
                (Path(working) / "jars").rename(ready)
    return ready


def cache_folder() -> Path:
    """Where downloaded artifacts are kept: `$XDG_CACHE_HOME/millstream`, by default in `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "millstream"


def _fetch(working: Path, say: Callable[[str], None]) -> None:
    jars = working / "jars"
    shutil.copy(str(resources.files(__package__) / "pom.xml"), working / "pom.xml")
    say(f"downloading Apache Kafka {KAFKA_VERSION} with Maven, about 45 MB, once")
    maven = ChildProcess(
        ["mvn", "--batch-mode", "--no-transfer-progress", "dependency:copy-dependencies", f"-DoutputDirectory={jars}"],
        cwd=working,
    )
    maven.start()
    reported = 0
    while True:
        try:
            code = maven.wait(1.0)
            break
        except subprocess.TimeoutExpired:
            count = len(list(jars.glob("*.jar"))) if jars.is_dir() else 0
            if count > reported:
                reported = count
                say(f"  {count} of about {JARS} jars")
    if code != 0:
        raise DidNotStart(f"Maven could not download Apache Kafka (exit code {code}):\n{maven.tail}")
