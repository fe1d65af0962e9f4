"""Every service and command does its work by settings alone, with the rights of docs/security.md and no others."""

import json
import ssl
from collections.abc import Iterator

import httpx
import pytest
from clickhouse_connect.driver.client import Client

from tests.support.installation import ROLES, Installation
from tests.support.secured_broker import SecuredBroker
from tests.support.tls_relay import behind_tls
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def bare(secured_kafka: SecuredBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Users with their rights; no topic exists yet."""
    made = Installation(secured_kafka, tmp_path_factory.mktemp("bare"))
    for role in ROLES:
        made.allow(role)
    yield made


@pytest.fixture
def tables(bare: Installation, clickhouse_url: str, own_clickhouse: Client) -> Iterator[dict[str, str]]:
    """Settings of a ClickHouse over TLS that asks for a client certificate."""
    authority = bare.broker.authority
    (certificate, key), (client_certificate, client_key) = authority.issue("clickhouse"), authority.issue("client")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.ca_file)
    with behind_tls(clickhouse_url, context) as url:
        yield {
            "MILLSTREAM_CLICKHOUSE__URL": url,
            "MILLSTREAM_CLICKHOUSE__CA_FILE": str(authority.ca_file),
            "MILLSTREAM_CLICKHOUSE__CERTIFICATE_FILE": str(client_certificate),
            "MILLSTREAM_CLICKHOUSE__KEY_FILE": str(client_key),
            "MILLSTREAM_CLICKHOUSE__DATABASE": str(own_clickhouse.database),
        }


def test_everything_runs_with_the_documented_rights(
    bare: Installation, own_clickhouse: Client, tables: dict[str, str]
) -> None:
    bare.done("topics", "topics", "apply")
    bare.done("topics", "topics", "list")
    checks = {each["check"]: each for each in json.loads(bare.run("doctor", "doctor", "--json", **tables).stdout)}
    for check in ("kafka", "topics", "broker settings", "clickhouse", "tables"):
        assert checks[check]["status"] == "ok", checks[check]
    assert "partitions" not in checks, checks["partitions"]

    lines: list[str] = []
    tracker = bare.service("tracker", "tracker", on_line=lines.append)
    worker = bare.service("worker", "worker", "handlers", "--name", "w", "--processes", "2", on_line=lines.append)
    sink = bare.service("sink", "sink", on_line=lines.append, **tables)
    with tracker, worker, sink:
        bare.done("operator", "commands", "pause", "tenant", "idle")
        assert "idle" in bare.done("operator", "commands", "list")
        bare.done("operator", "commands", "resume", "tenant", "idle")
        added = json.loads(bare.done("producer", "submit", "t.add", "1", "--count", "20", "--json"))["job_ids"]
        failing = ("submit", "t.fail", "--max-attempts", "2", "--lane", "high", "--json")
        failed = json.loads(bare.done("producer", *failing))["job_ids"]
        for job_id, state in [*((each, "succeeded") for each in added), (failed[0], "failed")]:
            _await_state(bare, job_id, state)
        assert "succeeded" in bare.done("operator", "job", "show", added[0])
        bare.done("operator", "job", "cancel", added[0], "--force")
        stored = "SELECT uniqExact(job_id) FROM job_events WHERE kind IN ('succeeded', 'failed')"
        eventually(lambda: own_clickhouse.query(stored).result_rows[0][0], lambda count: count == 21)
        dead = "SELECT count() FROM dead_letters"
        eventually(lambda: own_clickhouse.query(dead).result_rows[0][0], lambda count: count == 1)
        eventually(
            lambda: own_clickhouse.query("SELECT count() FROM worker_heartbeats").result_rows[0][0], lambda n: n > 0
        )
        for service in (worker, tracker, sink):
            assert service.stop(60) == 0, service.tail
    # The worker takes the default for a setting of the brokers that it may not read.
    told = [line for line in lines if "broker_settings_unavailable" not in line]
    assert not [line for line in told if "right_missing" in line or "uthorization" in line]
    bare.done("operator", "sink", "rewind", "--yes", **tables)


def _await_state(installation: Installation, job_id: str, state: str) -> None:
    eventually(lambda: _state(installation, job_id), lambda found: found == state)


def _state(installation: Installation, job_id: str) -> str:
    try:
        answer = httpx.get(f"http://127.0.0.1:{installation.tracker_port}/jobs/{job_id}", timeout=5)
    except httpx.HTTPError:
        return "no answer"
    return str(answer.json().get("state", answer.status_code))


def test_every_service_logs_in_with_tokens(installation: Installation) -> None:
    broker = installation.broker
    options = {"security.protocol": "SASL_SSL", "ssl.ca.location": str(broker.authority.ca_file)}

    def by_token(user: str) -> dict[str, str]:
        return {
            "MILLSTREAM_KAFKA__BOOTSTRAP": broker.token_bootstrap,
            "MILLSTREAM_KAFKA__OPTIONS": json.dumps(options),
            "MILLSTREAM_KAFKA__SASL_USERNAME": "",
            "MILLSTREAM_KAFKA__OAUTH_TOKEN": "tests.support.tokens:token",
            "MILLSTREAM_TEST_TOKEN_USER": user,
        }

    lines: list[str] = []
    worker = installation.service(
        "worker", "worker", "handlers", "--name", "by-token", on_line=lines.append, **by_token("worker")
    )
    tracker = installation.service("tracker", "tracker", on_line=lines.append, **by_token("tracker"))
    with worker, tracker:
        submitted = installation.done("producer", "submit", "t.add", "1", "--json", **by_token("producer"))
        (job_id,) = json.loads(submitted)["job_ids"]
        _await_state(installation, job_id, "succeeded")
        assert "tenant" not in installation.done("operator", "commands", "list", **by_token("operator"))
    assert not [line for line in lines if "right_missing" in line or "heartbeats_refused" in line]
