"""Secrets of an installation and payloads of tenants are planted wherever they can be, and looked for in all that its
services and commands write."""

import base64
import io
import json
import os
import stat
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import Producer

from millstream.cli import main
from millstream.local.ports import free_port
from millstream.local.process import ChildProcess
from millstream.local.stack import LocalStack
from millstream.producers import JobClient, NewJob
from millstream.schemas import Codec, DeadLetter, DeadReason, DecodeError, JobRequest, TopicCatalogue
from millstream.settings import Settings, load
from tests.support import secured_broker
from tests.support.eventlog import TopicReader
from tests.support.forged_events import event
from tests.support.hostile_records import raw_request, text
from tests.support.paths import ROOT
from tests.support.secured_broker import SecuredBroker
from tests.support.waiting import eventually

CODEC = Codec()
KINDS = ("loop", "thread", "process")
USER = "admin"
HANDLERS = """
from pydantic import BaseModel
from millstream import JobContext, job

class Card(BaseModel):
    number: str
    note: str

def pay(card, context):
    context.log.info("paying", note=card.note, notes=[card.note])
    context.progress(0.5, f"paying {card.note}")
    try:
        Card.model_validate({"number": [card.number], "note": card.note})
    except ValueError as error:
        raise ConnectionError(f"{card.note}, pin={card.note} at https://me:@PASSWORD@@bank.example: {error}") from error

@job("pay.loop")
async def loop(card: Card, context: JobContext) -> None:
    pay(card, context)

@job("pay.thread")
def thread(card: Card, context: JobContext) -> None:
    pay(card, context)

@job("pay.process", runs_on="process")
def process(card: Card, context: JobContext) -> None:
    pay(card, context)
"""


class Planted:
    """A distinctive text for each thing that must not be seen, by its name."""

    def __init__(self) -> None:
        self._texts = {"sasl password": SecuredBroker.password(USER)}

    def __call__(self, name: str, form: str = "planted") -> str:
        return self._texts.setdefault(name, f"{form}-{uuid.uuid4().hex[:12]}")

    def leaks(self, written: Mapping[str, str]) -> list[str]:
        """What was planted, where it was found, and the text around it."""
        return [
            f"{name} in {place}: {content[max(0, at - 150) : at + 80]!r}"
            for name, planted in self._texts.items()
            for place, content in written.items()
            for form in (planted, base64.b64encode(f"default:{planted}".encode()).decode())
            if (at := content.find(form)) >= 0
        ]


@dataclass
class Commands:
    """Runs commands in this process as the command line does, and keeps what they print."""

    monkeypatch: pytest.MonkeyPatch
    printed: dict[str, str] = field(default_factory=dict)

    def run(self, *words: str, code: int | None = 0, **variables: str) -> str:
        """`variables`: settings without `MILLSTREAM_`. `code`: the exit code to expect; None for any."""
        out = io.BytesIO()
        ended: Any = 0
        with self.monkeypatch.context() as patch, io.TextIOWrapper(out, "utf-8", write_through=True) as written:
            for name, value in variables.items():
                patch.setenv(f"MILLSTREAM_{name}", value)
            patch.setattr(sys, "argv", ["millstream", *words])
            with redirect_stdout(written), redirect_stderr(written):
                try:
                    main()
                except SystemExit as end:
                    ended = end.code or 0
            said = out.getvalue().decode()
        self.printed[f"{len(self.printed)}: {' '.join(words)} {sorted(variables)}"] = said
        assert ended == code or (code is None and isinstance(ended, int)), (words, ended, said)
        return said

    def rows(self, sql: str) -> Any:
        return json.loads(self.run("sql", "--json", sql))


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredBroker]:
    yield from secured_broker.secured(tmp_path_factory.mktemp("secured"), ())


@pytest.fixture
def planted() -> Planted:
    return Planted()


@pytest.fixture
def configured(
    broker: SecuredBroker, planted: Planted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, int]:
    """The settings of everything that follows, and the folder it runs in. The ports of the health endpoints."""
    ports = {"worker": free_port(), "sink": free_port()}
    options = json.loads(broker.environment(USER)["MILLSTREAM_KAFKA__OPTIONS"])
    metrics_token = planted("metrics token")
    for name, value in {
        **broker.environment(USER),
        "MILLSTREAM_KAFKA__OPTIONS": json.dumps({**options, "ssl.key.password": planted("key password")}),
        "MILLSTREAM_TOPICS__PARTITIONS": "1",
        "MILLSTREAM_TOPICS__LANES": '["default"]',
        "MILLSTREAM_CLICKHOUSE__PASSWORD": planted("clickhouse password"),
        "MILLSTREAM_TRACKER__TOKEN": planted("tracker token"),
        "MILLSTREAM_WORKER__METRICS_TOKEN": metrics_token,
        "MILLSTREAM_WORKER__HEALTH_PORT": str(ports["worker"]),
        "MILLSTREAM_WORKER__JOURNAL_FOLDER": str(tmp_path / "journal"),
        "MILLSTREAM_WORKER__UNKNOWN_TYPE_GRACE_S": "0",
        "MILLSTREAM_SINK__METRICS_TOKEN": metrics_token,
        "MILLSTREAM_SINK__HEALTH_PORT": str(ports["sink"]),
        "MILLSTREAM_REDACT__FIELDS": '["pin"]',
        "MILLSTREAM_REDACT__PATTERNS": '["card-[0-9a-f]{12}"]',
        "MILLSTREAM_LOG_LEVEL": "debug",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    handlers = HANDLERS.replace("@PASSWORD@", planted("password in a handler's address"))
    (tmp_path / "handlers.py").write_text(handlers, "utf-8")
    return ports


def services(folder: Path, settings: Settings, broker: SecuredBroker, password: str) -> dict[str, ChildProcess]:
    """Each service, not started yet. Worker and tracker log for people, the sink for machines."""
    of_service: dict[str, tuple[list[str], dict[str, str]]] = {
        "worker": (["worker", "handlers", "--name", "w"], {"LOG_FORMAT": "console"}),
        "sink": (
            ["sink"],
            {
                "LOG_FORMAT": "json",
                "CLICKHOUSE__URL": settings.clickhouse.url.replace("://", f"://default:{password}@"),
            },
        ),
        # Its client knows no password of a key without a certificate.
        "tracker": (
            ["tracker"],
            {"LOG_FORMAT": "console", "KAFKA__OPTIONS": broker.environment(USER)["MILLSTREAM_KAFKA__OPTIONS"]},
        ),
    }
    return {
        name: ChildProcess(
            [sys.executable, "-m", "millstream", *words],
            env={**os.environ, "PYTHONPATH": str(ROOT), **{f"MILLSTREAM_{key}": value for key, value in own.items()}},
            cwd=folder,
            log=folder / f"{name}.log",
        )
        for name, (words, own) in of_service.items()
    }


def restart_ended(running: Mapping[str, ChildProcess]) -> None:
    """Start again what has ended, as a supervisor does: the Kafka client may abort a process on a machine that is slow.
    What it wrote at its end is looked through as well."""
    for each in running.values():
        if not each.is_alive():
            each.start()


def submit(settings: Settings, broker: SecuredBroker, payload: str, note: str) -> tuple[list[str], set[bytes]]:
    """Jobs that fail or are refused, each with a planted payload, and records on every topic that are none. `note` is
    what handlers repeat. Returns the ids of the jobs, the first of one that ran, and the other records."""
    topics, lane = settings.catalogue, settings.catalogue.lane("default")
    card = {"number": payload, "note": note}
    with JobClient(settings.connection.quiet, topics) as client:
        ids = client.submit_many(
            [NewJob(f"pay.{kind}", card, tenant="acme", max_attempts=1) for kind in KINDS]
            + [NewJob(f"pay.{kind}", {**card, "number": {"pin": payload}}, tenant="acme") for kind in KINDS]
            + [NewJob("pay.nobody", card, tenant="acme")]
        )
    requests = [
        JobRequest(tenant="acme", job_type=f"pay.{kind}", payload=f"{payload} is no JSON".encode()) for kind in KINDS
    ]
    requests.append(JobRequest(tenant="acme", job_type="pay.loop", payload=payload.encode() * 120_000))
    letter = DeadLetter(reason=DeadReason.OTHER, topic="t", partition=0, offset=0, stack=payload)
    whole = event("acme", payload)
    others = [
        *((lane, value) for value in (payload.encode(), raw_request(payload=text(payload), attempt=text(payload)))),
        *(
            (topics.events, value)
            for value in (payload.encode(), whole[:-9], whole.replace(whole[6:20], note[:14].encode()))
        ),
        *((topic, payload.encode()) for topic in (topics.commands, topics.heartbeats, topics.states)),
        (topics.dead, CODEC.encode(letter)[:-3]),
    ]
    raw = Producer(broker.unrestricted.producer())
    for request in requests:
        raw.produce(lane, CODEC.encode(request), request.record_key)
    for topic, value in others:
        raw.produce(topic, value, b"k")
    assert not raw.flush(60)
    return [*ids, *(each.job_id for each in requests)], {value for _, value in others}


def run_commands(commands: Commands, job_id: str) -> None:
    """Every command that prints what others wrote, in every form."""
    now = datetime.now(UTC)
    minutes_ago = f"{now - timedelta(minutes=10):%Y-%m-%dT%H:%M:%S}"
    last = ("--last", "1h")
    for words in (
        ("config", "show"),
        ("doctor",),
        ("job", "show", job_id),
        ("report", *last),
        ("rca", "errors", *last),
        ("rca", "job", job_id),
        ("rca", "explain", "--since", minutes_ago),
        ("topics", "list"),
        ("commands", "list"),
        ("acls",),
    ):
        commands.run(*words)
        commands.run(*words, "--json")
    for form in ("csv", "jsonl"):
        commands.run("sql", "--format", form, "SELECT * EXCEPT (record_key, record_value) FROM dead_letters")
        commands.run("sql", "--format", form, "SELECT * FROM job_events")
    commands.run("cost", "export", "--from", minutes_ago, "--to", f"{now + timedelta(days=1):%Y-%m-%dT%H:%M:%S}")
    commands.run("rca", "errors", *last, "--html", "errors.html")
    commands.run("rca", "job", job_id, "--html", "job.html")


def run_failing_commands(commands: Commands, planted: Planted) -> None:
    """Commands with wrong input, wrong credentials and settings that do not exist."""
    wrong = planted("wrong password")
    token = {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "OAUTHBEARER",
        "enable.sasl.oauthbearer.unsecure.jwt": "true",
        "sasl.oauthbearer.config": f"principal=x unknown={planted('token config')}",
    }
    pem = {"security.protocol": "SSL", "ssl.key.pem": planted("private key")}
    commands.run("submit", "pay.loop", f"{{{planted('payload of the command line')}", code=2)
    commands.run("topics", "list", code=6, KAFKA__SASL_PASSWORD=wrong)
    commands.run("commands", "list", code=6, KAFKA__OPTIONS=json.dumps(token), KAFKA__SASL_USERNAME="")
    commands.run("topics", "list", code=2, KAFKA__OPTIONS=json.dumps(pem), KAFKA__SASL_USERNAME="")
    commands.run("topics", "list", code=2, KAFKA__OPTIONS=json.dumps({"sasl.pasword": wrong}))
    commands.run("doctor", code=None, KAFKA__SASL_PASSWORD=wrong, CLICKHOUSE__PASSWORD=wrong, TRACKER__TOKEN=wrong)
    commands.run("report", code=3, CLICKHOUSE__PASSWORD=wrong)
    commands.run("report", code=3, CLICKHOUSE__URL=f"http://me:{wrong}@127.0.0.1:1")
    commands.run("sql", "SELECT nonsense", code=2)
    registry = f"http://me:{planted('registry password')}@127.0.0.1:1"
    commands.run("config", "show", SCHEMA_REGISTRY__URL=registry)
    commands.run("submit", "pay.loop", "{}", code=None, SCHEMA_REGISTRY__URL=registry)
    for name in ("KAFKA__SASL_PASWORD", "CLICKHUOSE__PASSWORD", "TRACKER_TOKEN", "CLICKHOUSE__PASWORD"):
        commands.run("config", "show", code=2, **{name: planted("misspelled setting")})


def asked(ports: Mapping[str, int], planted: Planted, job_ids: list[str]) -> dict[str, str]:
    """What the services answer over HTTP, with the right token, with a wrong one and with none."""
    probes, states = ["metrics", "ready", "live", "x"], ["counts", "health", "x", *(f"jobs/{each}" for each in job_ids)]
    paths = {"worker": probes, "sink": probes, "tracker": states}
    found: dict[str, str] = {}
    for name, port in ports.items():
        token = planted("tracker token" if name == "tracker" else "metrics token")
        for path in paths[name]:
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Bearer {token}"}):
                answer = httpx.get(f"http://127.0.0.1:{port}/{path}", headers=headers, timeout=30)
                place = f"{name}/{path}: {answer.status_code}"
                found[place] = f"{found.get(place, '')}{answer.headers} {answer.text}"
    return found


def read_topics(bootstrap: str, topics: TopicCatalogue, ours: set[bytes]) -> dict[str, str]:
    """The records of every topic but the lanes and `ours`. Dead letters without the record, which is what they are
    for."""
    found = {}
    for topic in (each.name for each in topics if each.record != "JobRequest"):
        reader = TopicReader(bootstrap, topic)
        reader.read(0.5)
        reader.close()
        for at, value in enumerate(reader.values):
            if value in ours:
                continue
            found[f"{topic} {at}"] = value.decode("utf-8", "replace")
            with suppress(DecodeError):
                letter = CODEC.decode(value, DeadLetter)
                found[f"{topic} {at}"] = letter.model_dump_json(exclude={"record_key", "record_value"})
    return found


def read_files(folder: Path) -> dict[str, str]:
    """Every file but those that have to hold secrets, which nobody else may read, and the rows of ClickHouse's tables:
    they hold dead letters, and commands ask for the others."""
    found = {}
    for file in (each for each in folder.rglob("*") if each.is_file()):
        if file.name in ("stack.json", "password"):
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
        elif file.name != "handlers.py" and "store" not in file.parts:
            found[str(file)] = file.read_bytes().decode("utf-8", "replace")
    return found


def test_no_secret_and_no_payload_is_in_anything_that_is_written(
    configured: dict[str, int],
    broker: SecuredBroker,
    planted: Planted,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    commands, written, said = Commands(monkeypatch), dict[str, str](), list[str]()
    with ExitStack() as stopping:
        stack = stopping.enter_context(LocalStack(tmp_path / ".millstream", broker.bootstrap, say=said.append))
        monkeypatch.setenv("MILLSTREAM_CLICKHOUSE__URL", stack.settings.clickhouse.url)
        monkeypatch.setenv("MILLSTREAM_TRACKER__PORT", str(stack.settings.tracker.port))
        settings = load()
        running = services(tmp_path, settings, broker, planted("clickhouse password"))
        for each in running.values():
            stopping.enter_context(each)
        job_ids, ours = submit(settings, broker, planted("payload"), planted("what a rule names", "card"))

        def count(what: str, table: str) -> int:
            restart_ended(running)
            return int(commands.rows(f"SELECT countIf({what}) AS n FROM {table}")["n"])

        eventually(lambda: count("final", "job_events"), lambda ended: ended >= len(job_ids))
        eventually(lambda: count("reason = 'sink_unreadable'", "dead_letters"), lambda letters: letters >= 4)
        eventually(
            lambda: [commands.run("job", "show", each, code=None) for each in job_ids],
            lambda shown: all("failed" in each for each in shown),
        )
        run_commands(commands, job_ids[0])
        run_failing_commands(commands, planted)
        written |= asked(configured | {"tracker": settings.tracker.port}, planted, job_ids)
        written |= read_topics(broker.unrestricted.bootstrap, settings.catalogue, ours)
    written |= read_files(tmp_path)
    assert {"worker.log", "sink.log", "tracker.log", "errors.html"} <= {Path(place).name for place in written}
    assert planted.leaks(written | commands.printed | {"what the stack said": "\n".join(said)}) == []
    assert "[redacted]" in written[str(tmp_path / "worker.log")]
