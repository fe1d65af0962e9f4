"""What is installed: one top-level package that finds its own files, beside projects with names like our folders'."""

import os
import subprocess
import sys
import zipfile
from importlib.metadata import distributions
from pathlib import Path

import pytest

from millstream.local.broker import Broker
from millstream.schemas import Codec, JobRequest, TopicCatalogue
from tests.support.eventlog import TopicReader
from tests.support.paths import ROOT
from tests.support.smaller_install import installed_by

PRODUCER = """
from millstream import job_client

with job_client(source="web") as jobs:
    print(jobs.submit("reports.render", {"report": 7}, tenant="acme"))
"""


def run(*argv: str | Path, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [str(part) for part in argv],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{argv}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from the sdist, as an index would serve it."""
    folder = tmp_path_factory.mktemp("dist")
    copy = tmp_path_factory.mktemp("source") / "checkout"
    # A build leaves its traces in the folder it runs in.
    run("git", "clone", "--quiet", ROOT, copy, cwd=folder)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, copy, cwd=folder)
    assert list(folder.glob("millstream-*.tar.gz"))
    (built,) = folder.glob("millstream-*.whl")
    return built


def new_environment(folder: Path, requirement: str) -> Path:
    """An environment with this installed from the package index; returns its interpreter."""
    uv = Path(sys.executable).with_name("uv")
    run(uv, "venv", "--quiet", "--python", sys.executable, folder, cwd=folder.parent)
    python = folder / "bin" / "python"
    run(uv, "pip", "install", "--quiet", "--system-certs", "--python", python, requirement, cwd=folder.parent)
    return python


def test_the_wheel_holds_one_top_level_package_with_schemas_and_sql(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"millstream"}
    for needed in (
        "millstream/schemas/avro/JobEvent.avsc",
        "millstream/schemas/avro/pinned/2-JobEvent.avsc",
        "millstream/analytics/warehouse/migrations/0001_job_events.sql",
        "millstream/analytics/warehouse/views/failures.sql",
        "millstream/local/broker/pom.xml",
        "millstream/local/broker/recovery.properties",
        "millstream/py.typed",
    ):
        assert needed in names, f"{needed} is not in the wheel"


def test_a_wheel_from_the_sdist_runs_in_an_empty_environment_and_finds_its_files(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    python = new_environment(environment, f"{wheel}[services]")
    assert "Check brokers, topics, running services" in run(
        environment / "bin" / "millstream", "doctor", "--help", cwd=tmp_path
    )
    found = run(
        python,
        "-c",
        "from millstream.schemas.registry import pinned_schemas;"
        "from millstream.analytics.warehouse.migrate import view_names;"
        "print(len(pinned_schemas()), 'failures' in view_names())",
        cwd=tmp_path,
    )
    assert found.split() == ["8", "True"]


def test_without_extras_it_submits_a_job_and_the_commands_name_their_extra(
    wheel: Path, kafka: Broker, topics: TopicCatalogue, tmp_path: Path
) -> None:
    try:
        python = new_environment(tmp_path / "environment", str(wheel))
    except AssertionError as error:
        if "error sending request" in str(error):
            pytest.skip("no package index can be reached")
        raise
    (packages,) = tmp_path.glob("environment/lib/python*/site-packages")
    installed = {each.metadata["Name"].lower().replace("_", "-") for each in distributions(path=[str(packages)])}
    assert {"millstream", "confluent-kafka"} <= installed
    assert not installed & (installed_by("local") - installed_by())
    settings = {"MILLSTREAM_KAFKA__BOOTSTRAP": kafka.bootstrap, "MILLSTREAM_TOPICS__PREFIX": topics.prefix}
    job_id = run(python, "-c", PRODUCER, cwd=tmp_path, **settings).strip()
    lane = TopicReader(kafka.bootstrap, topics.lane("default"))
    lane.until(lambda: bool(lane.values))
    lane.close()
    (request,) = (Codec().decode(value, JobRequest) for value in lane.values)
    assert (request.job_id, request.tenant, request.source) == (job_id, "acme", "web")
    command = subprocess.run(
        [python, "-m", "millstream", "tracker"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert command.returncode == 2
    assert command.stderr == "error typer is not installed: pip install 'millstream[worker]'\n"
