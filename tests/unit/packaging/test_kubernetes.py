"""The Kubernetes manifests fit the code: every variable is a setting, every probe asks something that answers."""

from typing import Any

import pytest
import yaml

from millstream.cli.app import COMMANDS
from millstream.consumers.worker.config import WorkerConfig
from millstream.setting_names import unknown_variables, variable_of
from millstream.settings import Settings, setting_names
from millstream.streams.config import TrackerConfig
from tests.support.paths import ROOT

MANIFESTS = [
    each
    for file in sorted((ROOT / "deploy" / "kubernetes").glob("*.yaml"))
    for each in yaml.safe_load_all(file.read_text("utf-8"))
]
DEPLOYMENTS = {each["metadata"]["name"]: each for each in MANIFESTS if each["kind"] == "Deployment"}
VARIABLES: dict[str, str] = {
    name: value
    for each in MANIFESTS
    if each["kind"] in ("ConfigMap", "Secret")
    for name, value in (each.get("data") or each["stringData"]).items()
}


def container(name: str) -> dict[str, Any]:
    (found,) = DEPLOYMENTS[name]["spec"]["template"]["spec"]["containers"]
    return dict(found)


def test_every_variable_is_a_setting_and_has_a_value_that_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    known = setting_names()
    own = [env["name"] for name in DEPLOYMENTS for env in container(name).get("env", [])]
    assert unknown_variables(dict.fromkeys([*VARIABLES, *own], ""), known) == []
    assert {*VARIABLES, *own} <= {variable_of(each) for each in known}
    for name, value in VARIABLES.items():
        assert isinstance(value, str), f"{name} must be quoted"
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.kafka.bootstrap == VARIABLES["MILLSTREAM_KAFKA__BOOTSTRAP"]
    # None of them refuses to start because of who could read its metrics or states.
    for config in (settings.worker, settings.sink, settings.tracker):
        assert config.http_guard() is not None


def test_every_container_runs_a_command_with_the_settings_of_all() -> None:
    commands = {each.name for each in COMMANDS}
    pods = [each["spec"]["template"]["spec"] for each in MANIFESTS if each["kind"] in ("Deployment", "Job")]
    assert len(pods) == 5
    for pod in pods:
        (each,) = pod["containers"]
        assert each["args"][0] in commands and each["image"] == "millstream:local"
        assert [next(iter(source.values()))["name"] for source in each["envFrom"]] == [
            "millstream-settings",
            "millstream-secrets",
        ]


@pytest.mark.parametrize(
    ("name", "probe", "path", "port"),
    [
        ("millstream-worker", "readinessProbe", "/ready", VARIABLES["MILLSTREAM_WORKER__HEALTH_PORT"]),
        ("millstream-worker", "livenessProbe", "/live", VARIABLES["MILLSTREAM_WORKER__HEALTH_PORT"]),
        ("millstream-sink", "readinessProbe", "/ready", VARIABLES["MILLSTREAM_SINK__HEALTH_PORT"]),
        ("millstream-sink", "livenessProbe", "/live", VARIABLES["MILLSTREAM_SINK__HEALTH_PORT"]),
        ("millstream-tracker", "readinessProbe", "/health", str(TrackerConfig().port)),
    ],
)
def test_every_probe_asks_a_page_on_a_port_that_the_service_listens_on(
    name: str, probe: str, path: str, port: str
) -> None:
    asked = container(name)[probe]["httpGet"]
    ports = {each["name"]: str(each["containerPort"]) for each in container(name)["ports"]}
    assert (asked["path"], ports[asked["port"]]) == (path, port)


def test_what_a_selector_selects_is_there() -> None:
    for name, each in DEPLOYMENTS.items():
        labels = each["spec"]["template"]["metadata"]["labels"]
        assert each["spec"]["selector"]["matchLabels"] == labels == {"app": name}
    for each in MANIFESTS:
        if each["kind"] == "Service":
            assert each["spec"]["selector"]["app"] in DEPLOYMENTS
        if each["kind"] == "PodDisruptionBudget":
            assert each["spec"]["selector"]["matchLabels"]["app"] in DEPLOYMENTS


def test_a_worker_has_longer_to_end_than_its_jobs() -> None:
    grace_s = DEPLOYMENTS["millstream-worker"]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace_s > WorkerConfig().drain_grace_s + 5
