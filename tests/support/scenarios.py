"""Scenarios of faults, each in a short form for `make test` and in its full length for `make soak`.

A scenario reports one line of figures, which the terminal shows after the run. In its full length it also shows its
progress and, at once, its figures.
"""

import time

import pytest

from tests.support.guarantees import ALWAYS, Guarantee, History, figures, violations

FIGURES = "figures"
"""The property of a test's report that holds the line of figures."""

SOAK = pytest.mark.soak


def lengths(name: str, *, short: object, full: object) -> pytest.MarkDecorator:
    """Run a test with the argument `name` as `short`, and as `full` where tests marked `soak` are selected."""
    return pytest.mark.parametrize(name, [pytest.param(short, id="short"), pytest.param(full, id="full", marks=SOAK)])


class Scenario:
    """What a running scenario shows on the terminal."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._item: pytest.Item = request.node
        self._since = time.monotonic()
        self._shown = request.node.get_closest_marker(SOAK.name) is not None
        self._capture = request.config.pluginmanager.getplugin("capturemanager")

    def progress(self, text: str) -> None:
        """Show a line with the time since the scenario began; only in full length."""
        if self._shown and self._capture is not None:
            with self._capture.global_and_fixture_disabled():
                print(f"  {time.monotonic() - self._since:5.0f} s  {text}", flush=True)

    def figures(self, **values: object) -> None:
        """Report what the scenario counted; the seconds that it took are added."""
        seconds = f"{time.monotonic() - self._since:.0f}"
        line = " ".join(f"{name}={value}" for name, value in {**values, "seconds": seconds}.items())
        self._item.user_properties.append((FIGURES, line))
        self.progress(line)


def assert_held(scenario: Scenario, history: History, guarantees: list[Guarantee] = ALWAYS, **more: object) -> None:
    """Report the figures of the history and `more`, and fail with every violation of a guarantee."""
    scenario.figures(**figures(history), **more)
    found = violations(history, guarantees)
    assert found == [], "\n".join(found)


class Figures:
    """Shows the figures of all scenarios. A pytest plugin, which also works with the workers of pytest-xdist."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            name = report.nodeid.rpartition("::")[2].partition("@")[0]
            self._lines += [f"{name}: {line}" for key, line in report.user_properties if key == FIGURES]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._lines:
            terminalreporter.section("scenarios of faults")
            for line in self._lines:
                terminalreporter.write_line(line)
