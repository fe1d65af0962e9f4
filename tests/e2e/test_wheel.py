"""What is installed: one top-level package that finds its own files, beside projects with names like our folders'."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.paths import ROOT


def run(*argv: str | Path, cwd: Path) -> str:
    done = subprocess.run([str(part) for part in argv], cwd=cwd, capture_output=True, text=True, check=False)
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
    uv = Path(sys.executable).with_name("uv")
    run(uv, "venv", "--quiet", "--python", sys.executable, environment, cwd=tmp_path)
    python = environment / "bin" / "python"
    run(uv, "pip", "install", "--quiet", "--system-certs", "--python", python, wheel, cwd=tmp_path)
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
