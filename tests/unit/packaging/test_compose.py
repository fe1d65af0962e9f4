"""docker-compose.yml is what the Compose specification says, and starts what the platform needs."""

import json
import re
import shutil
import subprocess
from importlib.metadata import distribution
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from jsonschema import Draft7Validator

from millstream.streams.config import TrackerConfig
from tests.support.paths import ROOT

COMPOSE = ROOT / "docker-compose.yml"


def test_it_is_valid_by_the_compose_specification() -> None:
    # Only the file is wanted, not the package, whose command needs another click than Faust allows.
    vendored = distribution("check-jsonschema").locate_file("check_jsonschema/builtin_schemas/vendor/compose-spec.json")
    schema = json.loads(Path(str(vendored)).read_text("utf-8"))
    problems = list(Draft7Validator(schema).iter_errors(yaml.safe_load(COMPOSE.read_text("utf-8"))))
    assert [f"{'.'.join(map(str, each.path))}: {each.message}" for each in problems] == []


def test_docker_compose_accepts_it() -> None:
    if (
        not shutil.which("docker")
        or subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode
    ):
        pytest.skip("docker compose is not installed")
    checked = subprocess.run(
        ["docker", "compose", "-f", str(COMPOSE), "config", "--quiet"], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr


def test_every_image_is_pinned_and_every_service_waits_for_what_it_needs() -> None:
    services = yaml.safe_load(COMPOSE.read_text("utf-8"))["services"]
    assert {"kafka", "clickhouse", "schema-registry", "worker", "tracker", "sink"} <= set(services)
    for name, service in services.items():
        tag = service["image"].partition(":")[2]
        assert tag and tag != "latest", f"{name} has no pinned image"
        if "build" not in service:
            assert "healthcheck" in service, f"{name} has no health check"
    for name in ("worker", "tracker", "sink"):
        conditions = {each["condition"] for each in services[name]["depends_on"].values()}
        assert "service_completed_successfully" in conditions, f"{name} starts before topics and tables are there"


def test_kafka_writes_to_its_volume() -> None:
    kafka = yaml.safe_load(COMPOSE.read_text("utf-8"))["services"]["kafka"]
    folders = [volume.split(":")[1] for volume in kafka["volumes"]]
    assert kafka["environment"]["KAFKA_LOG_DIRS"] in folders


@pytest.mark.parametrize(("name", "variable"), [("worker", "WORKER"), ("sink", "SINK"), ("tracker", "TRACKER")])
def test_the_health_check_of_a_service_asks_that_service_and_nothing_else(name: str, variable: str) -> None:
    service = yaml.safe_load(COMPOSE.read_text("utf-8"))["services"][name]
    command, *arguments = service["healthcheck"]["test"]
    assert command == "CMD" and arguments[:2] == ["python", "-c"], "a command of Millstream costs a second of CPU"
    asked = urlsplit(re.findall(r"'(http://[^']*)'", arguments[2])[0])
    settings = service["environment"]
    port = settings.get(f"MILLSTREAM_{variable}__HEALTH_PORT", TrackerConfig().port)
    assert (asked.hostname, asked.port) == ("127.0.0.1", TrackerConfig().port if name == "tracker" else port)
    assert asked.path == ("/health" if name == "tracker" else "/ready")
    compile(arguments[2], name, "exec")


def test_the_image_has_no_health_check_that_asks_the_whole_platform() -> None:
    instructions = (ROOT / "Dockerfile").read_text("utf-8").splitlines()
    assert not [line for line in instructions if line.startswith("HEALTHCHECK")]


def test_a_worker_is_not_process_1_of_its_container() -> None:
    services = yaml.safe_load(COMPOSE.read_text("utf-8"))["services"]
    assert all(services[name]["init"] is True for name in ("worker", "sink", "tracker"))


def test_the_tracker_that_other_containers_reach_has_a_token_and_so_has_who_asks_it() -> None:
    services = yaml.safe_load(COMPOSE.read_text("utf-8"))["services"]
    listening = services["tracker"]["environment"]
    config = TrackerConfig(host=listening["MILLSTREAM_TRACKER__HOST"], token=listening["MILLSTREAM_TRACKER__TOKEN"])
    assert config.http_guard().refusal({}) is not None
    assert services["worker"]["environment"]["MILLSTREAM_TRACKER__TOKEN"] == listening["MILLSTREAM_TRACKER__TOKEN"]
