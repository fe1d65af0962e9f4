"""What works in an installation without the extras, and what tells which one is missing."""

import ast
import json
import re
import sys
from pathlib import Path

import pytest

from millstream.cli.app import COMMANDS
from millstream.extras import LIBRARIES
from tests.support.paths import ROOT
from tests.support.smaller_install import modules_of, run_with

FOLDERS = ("analytics", "consumers", "millstream", "producers", "schemas", "streams")
OPTIONAL = {"opentelemetry", "re2"}
"""Used where it is installed."""

PRODUCER = """
from millstream import AsyncJobClient, JobClient, JobContext, NewJob, async_job_client, job, job_client
from millstream.testing import InMemoryClient

@job("reports.render")
def render(payload: dict[str, int], context: JobContext) -> None:
    context.log.info("rendered")

with job_client(source="web") as real, InMemoryClient() as jobs:
    assert isinstance(real, JobClient)
    jobs.submit("reports.render", {"report": 7}, tenant="acme")
    assert [each.payload for each in jobs.jobs("reports.render")] == [{"report": 7}]
"""

COMMAND = """
import sys
from millstream.cli import main
sys.argv = ["millstream", *{arguments!r}]
main()
"""

EVERY_COMMAND = """
import json
from typer.testing import CliRunner
from millstream.cli.app import COMMANDS, app
from millstream.extras import ExtraMissing

answers = {}
for entry in COMMANDS:
    try:
        entry.load()
        missing = ""
    except ModuleNotFoundError as error:
        missing = error.name
    shown = CliRunner().invoke(app, [entry.name, "--help"], env={"COLUMNS": "200"})
    answers[entry.name] = missing, shown.exit_code, shown.output
print(json.dumps(answers))
"""


def imported_libraries() -> set[str]:
    """The top-level modules of other projects that any module of ours imports, wherever in it."""
    found = set()
    for path in {path.resolve() for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")}:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module)
    return {name.partition(".")[0] for name in found} - sys.stdlib_module_names - {"millstream", "compression"}


def documented(extra: str) -> set[str]:
    """The commands that come with it, by the page on installing."""
    page = (ROOT / "docs" / "installing.md").read_text("utf-8")
    (row,) = re.findall(rf"^\| `{extra}` \| (.*) \|$", page, re.M)
    return set(re.findall(r"`(\w+)`", row))


def command(*arguments: str) -> str:
    return COMMAND.format(arguments=list(arguments))


def test_a_producer_needs_no_extra() -> None:
    ran = run_with("", PRODUCER)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize(
    "code",
    [
        "from millstream import Worker",
        "from millstream.testing import run_handler",
        f"{PRODUCER}\njobs.run_pending()",
    ],
    ids=["worker", "run_handler", "run_pending"],
)
def test_what_runs_handlers_names_the_extra_that_installs_it(code: str) -> None:
    ran = run_with("", code)
    assert ran.stderr.splitlines()[-1] == (
        "millstream.extras.ExtraMissing: psutil is not installed: pip install 'millstream[worker]'"
    )


@pytest.mark.parametrize("arguments", [("--help",), ("submit", "a"), ()], ids=["help", "submit", "none"])
def test_without_any_extra_the_command_line_names_the_one_it_needs(arguments: tuple[str, ...]) -> None:
    ran = run_with("", command(*arguments))
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == "error typer is not installed: pip install 'millstream[worker]'\n"


def test_with_the_worker_extra_every_command_prints_help_and_those_on_jobs_run() -> None:
    ran = run_with("worker", EVERY_COMMAND)
    assert ran.returncode == 0, ran.stderr
    answers = json.loads(ran.stdout)
    # Imported without the engine and the services that it starts.
    assert {name for name, (missing, _, _) in answers.items() if not missing} == documented("worker") | {"up"}
    for entry in COMMANDS:
        missing, code, shown = answers[entry.name]
        assert code == 0, shown
        assert entry.help.split(".")[0].split("`")[0] in shown
        assert ("pip install 'millstream[services]'" in shown) == bool(missing), shown


@pytest.mark.parametrize("arguments", [("tracker",), ("sink",), ("rca", "explain")], ids=["tracker", "sink", "rca"])
def test_a_command_whose_extra_is_missing_ends_with_its_name_and_code_2(arguments: tuple[str, ...]) -> None:
    ran = run_with("worker", command(*arguments))
    assert (ran.returncode, ran.stdout) == (2, "")
    library = ran.stderr.split()[1]
    assert library in LIBRARIES["services"]
    assert ran.stderr == f"error {library} is not installed: pip install 'millstream[services]'\n"


def test_a_library_that_is_imported_while_a_command_runs_is_named_too() -> None:
    hidden = "import sys\nsys.modules['faust'] = None\n"
    ran = run_with("services", f"{hidden}{command('tracker')}")
    assert ran.returncode == 2
    assert ran.stderr == "error faust is not installed: pip install 'millstream[services]'\n"


def test_with_the_services_extra_every_command_loads() -> None:
    ran = run_with("services", EVERY_COMMAND)
    assert ran.returncode == 0, ran.stderr
    assert not {name: missing for name, (missing, _, _) in json.loads(ran.stdout).items() if missing}


def test_a_stack_without_the_local_extra_names_it() -> None:
    ran = run_with(
        "services",
        "from pathlib import Path\n"
        "from millstream.local.clickhouse.process import EmbeddedClickHouse\n"
        "EmbeddedClickHouse(Path('unused'), password='').start()",
    )
    assert ran.stderr.endswith("the ClickHouse engine is not installed: pip install 'millstream[local]'\n")
    assert not Path(ROOT / "unused").exists()


def test_a_schema_registry_without_its_extra_names_it() -> None:
    ran = run_with("", "from millstream.schemas import ConfluentRegistry\nConfluentRegistry({'url': 'http://unused'})")
    assert ran.stderr.endswith("is not installed: pip install 'millstream[schema-registry]'\n")


def test_a_module_of_ours_that_is_missing_is_no_matter_of_extras() -> None:
    ran = run_with("", "from millstream.extras import importing\nwith importing():\n    import millstream.nowhere")
    assert ran.stderr.splitlines()[-1] == "ModuleNotFoundError: No module named 'millstream.nowhere'"


def test_the_page_on_installing_has_every_command_and_every_extra() -> None:
    extras = {"worker", "services", "local"}
    assert set().union(*map(documented, extras)) == {entry.name for entry in COMMANDS}
    assert extras == LIBRARIES.keys()


def test_every_imported_library_is_of_the_base_installation_or_of_a_listed_extra() -> None:
    listed = {library for libraries in LIBRARIES.values() for library in libraries}
    assert imported_libraries() - modules_of() - OPTIONAL == listed
    assert not listed & modules_of()


def test_each_extra_installs_the_libraries_that_are_listed_for_it() -> None:
    below = modules_of()
    for extra, libraries in LIBRARIES.items():
        assert set(libraries) <= modules_of(extra), set(libraries) - modules_of(extra)
        assert below <= modules_of(extra), "an extra includes those before it"
        below = modules_of(extra)
