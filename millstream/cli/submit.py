"""`millstream submit`"""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from millstream import settings as settings_module
from millstream.cli.failure import Failure
from millstream.cli.kafka_access import accepted_connection
from millstream.cli.options import AsJson
from millstream.cli.output import answer, warn
from millstream.producers import JobClient, NewJob
from millstream.producers.delivery import NOT_SEEN


def submit(
    job_type: Annotated[str, typer.Argument(help="Job type, such as reports.render.")],
    payload: Annotated[
        str, typer.Argument(help="Payload as JSON, @FILE to read it from a file, - for stdin.")
    ] = "null",
    tenant: Annotated[str, typer.Option(help="The tenant that the job belongs to.")] = "default",
    lane: Annotated[str, typer.Option(help="Lane: high, default, bulk or one of your own.")] = "default",
    key: Annotated[str, typer.Option(help="Ordering key: jobs with the same key run one at a time, in order.")] = "",
    label: Annotated[list[str] | None, typer.Option(help="A dimension for analysis, NAME=VALUE; repeatable.")] = None,
    timeout: Annotated[float | None, typer.Option(help="Timeout of one attempt, in seconds.")] = None,
    max_attempts: Annotated[int, typer.Option(help="Maximum number of attempts.")] = 1,
    count: Annotated[int, typer.Option(min=1, help="Submit it this many times.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Submit a job and print its id once Kafka has acknowledged it.

    Examples:

      millstream submit demo.sleep '{"seconds": 0.2}' --tenant acme

      millstream submit reports.render @report.json --lane high --label team=growth
    """
    settings = settings_module.load()
    new = NewJob(
        job_type,
        _payload(payload),
        tenant=tenant,
        lane=lane,
        ordering_key=key,
        labels=_labels(label or []),
        timeout_s=timeout,
        max_attempts=max_attempts,
    )
    with JobClient(
        accepted_connection(settings), settings.catalogue, settings.codec, source="millstream-cli"
    ) as client:
        ids = client.submit_many([new] * count)
    if client.events_problem:
        warn(f"{client.events_problem}: {NOT_SEEN}")
    answer(as_json, {"job_ids": ids}, lambda: "\n".join(ids))


def _payload(text: str) -> Any:
    try:
        if text == "-":
            return json.load(sys.stdin)
        if text.startswith("@"):
            return json.loads(Path(text[1:]).read_text("utf-8"))
        return json.loads(text)
    except OSError as error:
        raise Failure(f"payload: {error}", code=2) from error
    except ValueError as error:
        raise Failure(f"payload is not JSON: {error}", "quote strings twice: '\"text\"'", code=2) from error


def _labels(pairs: list[str]) -> dict[str, str]:
    labels = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise Failure(f"label {pair!r} is not NAME=VALUE", code=2)
        labels[name] = value
    return labels
