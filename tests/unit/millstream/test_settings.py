"""Settings: where they come from, which one wins, and what is said of a wrong one."""

import json
import os
from pathlib import Path

import pytest

from millstream.cli.config import show
from millstream.settings import InvalidSettings, load, running_stack
from millstream.settings_reference import reference
from tests.support.paths import ROOT


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder without any MILLSTREAM_ variable."""
    for name in [name for name in os.environ if name.startswith("MILLSTREAM_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_environment_wins_over_the_file_and_the_file_over_the_local_stack(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load().kafka.bootstrap == "127.0.0.1:9092"
    (elsewhere / ".millstream").mkdir()
    stack = {"pid": os.getpid(), "settings": {"kafka": {"bootstrap": "stack:1"}, "tracker": {"port": 7777}}}
    (elsewhere / ".millstream" / "stack.json").write_text(json.dumps(stack))
    assert load().kafka.bootstrap == "stack:1"
    assert load().tracker.url == "http://127.0.0.1:7777"
    (elsewhere / "millstream.toml").write_text('[kafka]\nbootstrap = "file:1"\n[worker]\nconcurrency = 7\n')
    assert load().kafka.bootstrap == "file:1"
    monkeypatch.setenv("MILLSTREAM_KAFKA__BOOTSTRAP", "env:1")
    assert load().kafka.bootstrap == "env:1"
    assert load().worker.concurrency == 7


def test_a_stack_whose_process_is_gone_is_not_used(elsewhere: Path) -> None:
    (elsewhere / "stack.json").write_text(json.dumps({"pid": 2**22 - 3, "settings": {}}))
    assert running_stack(elsewhere) is None
    (elsewhere / "stack.json").write_text("half a fi")
    assert running_stack(elsewhere) is None


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("MILLSTREAM_WORKER__THREADS", "many", "worker.threads = 'many'.*MILLSTREAM_WORKER__THREADS"),
        ("MILLSTREAM_TOPICS__PREFIX", "no spaces", "topics.prefix = 'no spaces'"),
        ("MILLSTREAM_KAFKA__NOSUCH", "1", "MILLSTREAM_KAFKA__NOSUCH: there is no such setting"),
        ("MILLSTREAM_LOG_LEVEL", "loud", "log_level = 'loud'"),
        (
            "MILLSTREAM_CLICKHOUSE__URL",
            "localhost:8123",
            "clickhouse.url = 'localhost:8123'.*such as http://localhost:8123",
        ),
        ("MILLSTREAM_CLICKHOUSE__URL", "http://localhost:81234", "clickhouse.url = .*Port out of range"),
        ("MILLSTREAM_CLICKHOUSE__URL", "http://localhost:port", "clickhouse.url = .*[Pp]ort"),
        ("MILLSTREAM_CLICKHOUSE__URL", "http://:8123", "clickhouse.url = 'http://:8123'"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value_and_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(InvalidSettings, match=said):
        load()


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("MILLSTREAM_WORKERS__CONCURRENCY", "MILLSTREAM_WORKER__CONCURRENCY"),
        ("MILLSTREAM_WORKER__CONCURENCY", "MILLSTREAM_WORKER__CONCURRENCY"),
        ("MILLSTREAM_KAFKA_BOOTSTRAP", "MILLSTREAM_KAFKA__BOOTSTRAP"),
        ("MILLSTREAM_KAFKA__SASL_PASWORD", "MILLSTREAM_KAFKA__SASL_PASSWORD"),
        ("MILLSTREAM_LOGLEVEL", "MILLSTREAM_LOG_LEVEL"),
        ("MILLSTREAM_FOO", None),
        ("MILLSTREAM_WORKERS__X", None),
    ],
)
def test_a_misspelled_setting_is_an_error_that_names_the_right_one_and_not_the_value(
    monkeypatch: pytest.MonkeyPatch, variable: str, meant: str | None
) -> None:
    monkeypatch.setenv(variable, "hunter2")
    with pytest.raises(InvalidSettings) as raised:
        load()
    said = str(raised.value)
    assert said.startswith(f"{variable}: there is no such setting")
    assert (meant in said) if meant else ("did you mean" not in said)
    assert "hunter2" not in said


def test_a_misspelled_group_in_the_file_is_named(elsewhere: Path) -> None:
    (elsewhere / "millstream.toml").write_text("[workers]\nconcurrency = 7\n")
    with pytest.raises(InvalidSettings, match="workers: there is no such setting"):
        load()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MILLSTREAM_SERVICE_HOST", "10.0.0.1"),
        ("MILLSTREAM_TRACKER_SERVICE_PORT_HTTP", "6066"),
        ("MILLSTREAM_TRACKER_PORT", "tcp://10.0.0.1:6066"),
        ("MILLSTREAM_TRACKER_PORT_6066_TCP_ADDR", "10.0.0.1"),
        ("MILLSTREAM_CONFIG", "other.toml"),
        ("MILLSTREAM_DATA", "elsewhere"),
    ],
)
def test_what_kubernetes_sets_for_a_service_of_this_name_is_no_misspelled_setting(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    load()


def test_a_wrong_value_that_may_be_a_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLSTREAM_KAFKA__OPTIONS", '{"ssl.key.password": ["hunter2"]}')
    monkeypatch.setenv("MILLSTREAM_CLICKHOUSE__URL", "ftp://me:hunter2@host:8123")
    with pytest.raises(InvalidSettings) as raised:
        load()
    assert "kafka.options" in str(raised.value) and "clickhouse.url" in str(raised.value)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("variable", "value", "named"),
    [
        ("KAFKA__OPTIONS", '{"sasl.password": "hunter2"', "kafka"),
        ("KAFKA__OPTIONS", '["hunter2"]', "kafka.options"),
        ("KAFKA__OAUTH_TOKEN", "hunter2.hunter2", "kafka.oauth_token"),
        ("KAFKA__BOOTSTRAP", "SASL_SSL://me:hunter2@broker:9092", "kafka.bootstrap"),
        ("KAFKA__BOOTSTRAP__PASSWORD", "hunter2", "kafka.bootstrap"),
        ("KAFKA__SASL_PASSWORD__X", "hunter2", "kafka.sasl_password"),
        ("CLICKHOUSE__URL", "http://me:hunter2/2@host:8123", "clickhouse.url"),
        ("CLICKHOUSE__URL__PASSWORD", "hunter2", "clickhouse.url"),
        ("CLICKHOUSE", '"hunter2"', "clickhouse"),
        ("SCHEMA_REGISTRY__URL", "http://me:hunter2/2@host:8081", "schema_registry.url"),
        ("TRACKER__PUBLIC_URL", "http://me:hunter2@host:6066", "tracker.public_url"),
        ("TRACKER__TOKEN__X", "hunter2", "tracker.token"),
    ],
)
def test_no_wrong_setting_shows_what_may_be_a_secret(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, named: str
) -> None:
    monkeypatch.setenv(f"MILLSTREAM_{variable}", value)
    with pytest.raises(InvalidSettings) as raised:
        load()
    assert named in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_a_group_whose_settings_contradict_each_other_does_not_show_its_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLSTREAM_WORKER__METRICS_TOKEN", "hunter2")
    monkeypatch.setenv("MILLSTREAM_WORKER__MIN_CONCURRENCY", "500")
    with pytest.raises(InvalidSettings, match="min_concurrency 500 is above max_concurrency") as raised:
        load()
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    "content",
    [
        'clickhouse = "hunter2"',
        '[clickhouse]\npasword = "hunter2"',
        '[clickhouse]\npassword = "hunter2',
        '[kafka]\noptions = "hunter2"',
        '[kafka]\noptions = {"sasl.password" = ["hunter2"]}',
    ],
    ids=["group", "misspelt", "unclosed", "options", "option"],
)
def test_no_wrong_file_shows_what_may_be_a_secret(elsewhere: Path, content: str) -> None:
    (elsewhere / "millstream.toml").write_text(content)
    with pytest.raises(InvalidSettings) as raised:
        load()
    assert "hunter2" not in str(raised.value)


def test_a_file_that_is_no_toml_is_named(elsewhere: Path) -> None:
    (elsewhere / "millstream.toml").write_text("bootstrap = = 1")
    with pytest.raises(InvalidSettings, match=r"millstream\.toml"):
        load()


def test_secrets_are_masked_wherever_settings_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLSTREAM_KAFKA__SASL_USERNAME", "me")
    monkeypatch.setenv("MILLSTREAM_KAFKA__SASL_PASSWORD", "hunter2")
    monkeypatch.setenv("MILLSTREAM_CLICKHOUSE__PASSWORD", "hunter2")
    settings = load()
    assert settings.connection.client()["sasl.password"] == "hunter2"
    for printed in (repr(settings), settings.model_dump_json(), repr(settings.connection)):
        assert "hunter2" not in printed


def test_the_configuration_reference_is_the_one_the_settings_make() -> None:
    page = ROOT / "docs" / "configuration.md"
    assert page.read_text("utf-8") == reference(), "run: millstream config reference > docs/configuration.md"


def test_a_secret_among_the_client_options_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"ssl.key.password": "hunter2", "sasl.oauthbearer.client.secret": "hunter2", "security.protocol": "ssl"}
    monkeypatch.setenv("MILLSTREAM_KAFKA__OPTIONS", json.dumps(options))
    for as_json in (True, False):
        show(as_json)
        printed = capsys.readouterr().out
        assert "hunter2" not in printed
        assert "security.protocol" in printed


@pytest.mark.parametrize("group", ["CLICKHOUSE", "SCHEMA_REGISTRY"])
def test_user_and_password_in_an_address_are_used_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], group: str
) -> None:
    monkeypatch.setenv(f"MILLSTREAM_{group}__URL", "http://me:hunter2@host:1")
    settings = load()
    if group == "CLICKHOUSE":
        assert (settings.clickhouse.url, settings.clickhouse.user) == ("http://host:1", "me")
        assert settings.clickhouse.password.get_secret_value() == "hunter2"
    else:
        assert settings.schema_registry.url == "http://host:1"
        assert settings.schema_registry.basic_auth.get_secret_value() == "me:hunter2"
    for as_json in (True, False):
        show(as_json)
        assert "hunter2" not in capsys.readouterr().out
    assert "hunter2" not in repr(settings) + settings.model_dump_json()


def test_a_password_of_its_own_wins_over_the_one_in_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLSTREAM_CLICKHOUSE__URL", "http://me:old@host:1")
    monkeypatch.setenv("MILLSTREAM_CLICKHOUSE__PASSWORD", "new")
    assert load().clickhouse.password.get_secret_value() == "new"


SECRET_OPTIONS = {
    "sasl.password": "hunter2",
    "sasl.pasword": "hunter2",
    "ssl.key.pem": "hunter2",
    "sasl.oauthbearer.config": "principal=x token=hunter2",
    "sasl.oauthbearer.assertion.private.key.pem": "hunter2",
}


def test_no_form_of_the_settings_shows_a_secret_of_any_setting(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("KAFKA__SASL_PASSWORD", "CLICKHOUSE__PASSWORD", "SCHEMA_REGISTRY__BASIC_AUTH"):
        monkeypatch.setenv(f"MILLSTREAM_{name}", "hunter2")
    monkeypatch.setenv("MILLSTREAM_KAFKA__OPTIONS", json.dumps(SECRET_OPTIONS))
    settings = load()
    printed = [repr(settings), str(settings), settings.model_dump_json(), repr(settings.connection)]
    for as_json in (True, False):
        show(as_json)
        printed.append(capsys.readouterr().out)
    assert not any("hunter2" in each for each in printed)
    assert settings.connection.client()["sasl.oauthbearer.config"] == "principal=x token=hunter2"


def test_the_rules_of_redaction_are_checked_with_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLSTREAM_REDACT__FIELDS", '["password"]')
    monkeypatch.setenv("MILLSTREAM_REDACT__PATTERNS", '["[0-9]{16}"]')
    assert load().redaction("password=x 4111111111111111") == "password=[redacted] [redacted]"
    assert not load().redaction.errors
    monkeypatch.setenv("MILLSTREAM_REDACT__ERRORS", "true")
    assert load().redaction.errors
    monkeypatch.setenv("MILLSTREAM_REDACT__PATTERNS", '["("]')
    with pytest.raises(InvalidSettings, match=r"redact\.patterns.*not a regular expression"):
        load()
