"""What is loaded with what: each command, producer and worker imports only the libraries that it uses."""

import ast
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from millstream.cli.app import COMMANDS
from millstream.cli.failure import RULES
from millstream.cli.lazy_command import CommandEntry
from millstream.cli.rca import EXPLAIN
from tests.support.paths import ROOT

FACES = (
    "millstream",
    "millstream.schemas",
    "millstream.producers",
    "millstream.consumers.worker",
    "millstream.consumers.sink",
    "millstream.streams",
    "millstream.analytics",
    "millstream.analytics.rca",
    "millstream.pages",
    "millstream.testing",
)
HEAVY = {"faust", "numpy", "pyarrow", "plotext", "jinja2", "clickhouse_connect", "simpy", "drain3", "chdb"}
PRODUCER_LIBRARIES = {
    # Kafka, Avro with its compression codecs, and validation.
    "confluent_kafka", "cimpl", "fastavro", "cramjam", "lz4", "backports", "zstandard", "snappy", "isal", "zlib_ng",
    "pydantic", "pydantic_core", "annotated_types", "typing_inspection", "typing_extensions", "uuid_utils",
    # Optional: the trace of the span that submits.
    "opentelemetry",
}  # fmt: skip


def third_party_after(code: str) -> set[str]:
    """The roots of the installed packages that a fresh interpreter has loaded after `code`."""
    listing = (
        "\nimport sys, json\n"
        "names = {name.partition('.')[0] for name, module in sys.modules.items() if module is not None "
        "and 'site-packages' in (getattr(module, '__file__', None) or '')}\n"
        "sys.stderr.write(json.dumps(sorted(names)))"
    )
    ran = subprocess.run([sys.executable, "-c", code + listing], capture_output=True, text=True, check=True, cwd=ROOT)
    return {
        name
        for name in json.loads(ran.stderr.splitlines()[-1])
        if not name.startswith(("__editable__", "_distutils_hack"))
    }


def run_cli(*arguments: str) -> str:
    return (
        f"import sys\nsys.argv = ['millstream', *{list(arguments)!r}]\nfrom millstream.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code"
    )


def test_the_version_is_printed_without_any_service_library() -> None:
    loaded = third_party_after(run_cli("--version"))
    assert not loaded & (HEAVY | {"confluent_kafka", "rich", "structlog"}), loaded


def test_the_list_of_commands_is_printed_without_any_service_library() -> None:
    assert not third_party_after(run_cli("--help")) & (HEAVY | {"confluent_kafka"})


@pytest.mark.parametrize("command", ["--version", "--help"])
def test_what_needs_no_settings_reads_none(command: str) -> None:
    loaded = third_party_after(run_cli(command))
    assert not loaded & {"pydantic_settings", "structlog", "httpx", "psutil", "prometheus_client"}, loaded


def test_questions_that_compute_nothing_load_no_numpy() -> None:
    assert not third_party_after("import millstream.cli.rca") & {"numpy", "pyarrow", "pandas", "drain3"}


@pytest.mark.parametrize("command", ["submit", "job", "commands", "topics", "config"])
def test_a_command_on_jobs_loads_no_library_of_a_service(command: str) -> None:
    loaded = third_party_after(f"import millstream.cli\nimport millstream.cli.{command}")
    assert not loaded & (HEAVY | {"pandas", "prometheus_client", "psutil", "aiohttp", "uvicorn"}), loaded


@pytest.mark.parametrize("command", ["submit", "config", "commands"])
def test_a_command_that_asks_no_http_service_loads_no_http_client(command: str) -> None:
    loaded = third_party_after(f"import millstream.cli\nimport millstream.cli.{command}")
    assert not loaded & {"httpx", "urllib3", "prompt_toolkit"}, loaded


def test_a_producer_loads_only_what_it_needs() -> None:
    loaded = third_party_after("from millstream import JobClient")
    assert loaded <= PRODUCER_LIBRARIES, loaded - PRODUCER_LIBRARIES


def test_the_settings_load_no_service_library() -> None:
    loaded = third_party_after("import millstream.settings")
    assert not loaded & (HEAVY | {"confluent_kafka", "prometheus_client", "psutil"}), loaded


def test_a_worker_loads_no_library_of_another_service() -> None:
    loaded = third_party_after("import millstream.cli.app, millstream.cli.worker\nfrom millstream import Worker")
    assert not loaded & HEAVY, loaded


@pytest.mark.parametrize("face", FACES)
def test_a_package_lists_the_same_names_for_type_checkers_and_for_the_interpreter(face: str) -> None:
    module = import_module(face)
    assert module.__file__ is not None
    tree = ast.parse(Path(module.__file__).read_text("utf-8"))
    (guard,) = (node for node in tree.body if isinstance(node, ast.If))
    for_checkers = {
        (alias.name, node.module) for node in guard.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    (assignment,) = guard.orelse
    assert isinstance(assignment, ast.Assign) and isinstance(assignment.value, ast.Call)
    table = ast.literal_eval(assignment.value.args[1])
    at_run_time = {(name, f"{face}.{inner}") for inner, names in table.items() for name in names}
    assert at_run_time == for_checkers
    assert set(module.__all__) == {name for name, _ in at_run_time}
    assert set(module.__all__) <= set(dir(module))
    for name, home in at_run_time:
        assert getattr(module, name) is getattr(import_module(home or ""), name)


@pytest.mark.parametrize("face", FACES)
def test_no_exported_name_is_that_of_a_module_beside_it(face: str) -> None:
    module = import_module(face)
    beside = {path.stem for folder in module.__path__ for path in Path(folder).iterdir()}
    assert not beside & set(module.__all__), "importing the module would replace the exported name"


def test_a_wrong_name_is_an_attribute_error() -> None:
    with pytest.raises(ImportError, match="Wroker"):
        exec("from millstream import Wroker")
    with pytest.raises(AttributeError, match="'millstream' has no attribute 'Wroker'"):
        _ = import_module("millstream").Wroker


@pytest.mark.parametrize("entry", [*COMMANDS, EXPLAIN], ids=lambda entry: entry.name)
def test_the_list_of_commands_repeats_the_first_paragraph_of_each_commands_help(entry: CommandEntry) -> None:
    command = entry.load()
    first = " ".join(command.help.strip().split("\n\n")[0].split())
    assert first == entry.help


def test_every_rule_for_an_exception_names_a_class_that_exists() -> None:
    for name in RULES:
        module, _, name_of_class = name.rpartition(".")
        found = getattr(import_module("confluent_kafka" if module == "cimpl" else module), name_of_class)
        assert issubclass(found, Exception)
        assert f"{found.__module__}.{found.__qualname__}" == name
