"""Writes docs/views.md: runs the example of every view on a synthetic history, in a temporary engine."""

import tempfile
from pathlib import Path

from millstream.analytics import connect
from millstream.analytics.warehouse.view_docs import prepare, reference
from millstream.local.clickhouse.process import EmbeddedClickHouse


def main() -> None:
    with (
        tempfile.TemporaryDirectory(prefix="millstream-docs-") as folder,
        EmbeddedClickHouse(Path(folder), password="") as server,
    ):
        client = connect(server.url)
        prepare(client, "docs")
        (Path(__file__).parent / "views.md").write_text(reference(client), "utf-8")


if __name__ == "__main__":
    main()
