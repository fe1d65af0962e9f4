"""The previous release beside this one: workers, tracker and sink are upgraded and rolled back in turn, under load."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client

from millstream.local.broker import Broker
from millstream.local.process import ChildProcess
from millstream.schemas import DeadLetter, EventKind, TopicCatalogue
from tests.support.derived import assert_derived
from tests.support.eventlog import TopicReader
from tests.support.fleet import Fleet
from tests.support.guarantees import NoJobLost, OneOutcomePerAttempt, OrderPerKey
from tests.support.paths import ROOT
from tests.support.running_sink import sink_process
from tests.support.running_tracker import RunningTracker
from tests.support.scenarios import Scenario, assert_held, lengths

PREVIOUS = "0bf0a243f5dff940facf549197e0a1d5c75c386f"
"""The commit of the previous release."""

WORKERS = 2


@pytest.fixture(scope="session")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel of the previous release installed, built from the repository's history."""
    source = tmp_path_factory.mktemp("previous-release")
    archive, folder = source.with_suffix(".tar"), source.with_suffix(".installed")
    try:
        git = subprocess.run(
            ["git", "-C", str(ROOT), "archive", f"--output={archive}", PREVIOUS],
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as error:
        pytest.skip(f"the previous release needs git: {error}")
    if git.returncode:
        pytest.skip(f"the previous release is not in the history of this checkout: {git.stderr.strip()}")
    subprocess.run(["tar", "-xf", str(archive), "-C", str(source)], check=True)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    wheels = source.with_suffix(".wheels")
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(wheels), str(source)], check=True)
    (wheel,) = wheels.glob("millstream-*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(folder), str(wheel)], check=True)
    return folder


@pytest.fixture
def fleet(kafka: Broker, topics: TopicCatalogue, tmp_path: Path) -> Fleet:
    return Fleet(kafka.bootstrap, topics, tmp_path, seed=21)


def dead_letters(kafka: Broker, topics: TopicCatalogue) -> list[str]:
    """The reasons of all dead letters."""
    reader = TopicReader(kafka.bootstrap, topics.dead)
    reader.read(1.0)
    return [letter.reason.value for letter in reader.decoded(DeadLetter)]


@lengths("rounds", short=1, full=10)
def test_a_rolling_upgrade_and_rolling_back_lose_nothing_and_write_nothing_that_the_other_release_cannot_read(
    kafka: Broker,
    topics: TopicCatalogue,
    clickhouse: Client,
    clickhouse_url: str,
    fleet: Fleet,
    previous: Path,
    tmp_path: Path,
    scenario: Scenario,
    rounds: int,
) -> None:
    def sink_of(release: Path) -> ChildProcess:
        database = str(clickhouse.database)
        return sink_process(
            kafka.bootstrap, topics, clickhouse_url, tmp_path, release=release, MILLSTREAM_CLICKHOUSE__DATABASE=database
        )

    tracker = RunningTracker(kafka.bootstrap, topics, tmp_path, release=previous)
    sink = sink_of(previous)
    sink.start()
    try:
        with fleet, tracker:
            fleet.start(WORKERS, release=previous)
            fleet.feed(50)
            fleet.await_everyone()
            for each in range(rounds):
                # The schema of ClickHouse is this release's from the beginning: `migrate` comes first.
                for release in (ROOT, previous):
                    assert sink.stop(60) == 0, sink.tail
                    sink = sink_of(release)
                    sink.start()
                    tracker.replace(release)
                    for number in range(WORKERS):
                        fleet.replace(number, release)
                        fleet.await_ends(100)
                        fleet.pause(1.0, 2.0)
                scenario.progress(f"round {each + 1} of {rounds}")
            history = fleet.history()
            derived = assert_derived(history, tracker, clickhouse)
            assert_held(scenario, history, [NoJobLost(), OneOutcomePerAttempt(), OrderPerKey()], **derived)
            assert dead_letters(kafka, topics) == []
            starts = Counter(event.job_id for event in history.events if event.kind is EventKind.STARTED)
            scenario.progress(f"{sum(number > 1 for number in starts.values())} of {len(starts)} jobs started twice")
    finally:
        sink.stop(20)
