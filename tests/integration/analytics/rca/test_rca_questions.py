"""Each question of root cause analysis finds what was planted, and nothing when nothing was planted."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from clickhouse_connect.driver.client import Client

from millstream.analytics.rca.questions.bottleneck import find_bottleneck
from millstream.analytics.rca.questions.compare import Side, compare
from millstream.analytics.rca.questions.deploys import deploy_effects
from millstream.analytics.rca.questions.errors import error_families
from millstream.analytics.rca.questions.job import UnknownJob, job_story
from millstream.analytics.rca.questions.noisy_neighbours import noisy_neighbours
from millstream.analytics.rca.window import Window
from tests.support.job_history import Attempt, History, change

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
BEFORE, AFTER = NOON - timedelta(minutes=30), NOON + timedelta(minutes=30)
SPAN = Window(NOON, AFTER)
ACME, GLOBEX = (
    Attempt(NOON),
    Attempt(NOON, tenant="globex", job_type="emails.send", host="host-2", worker_id="worker-2"),
)


def test_a_job_story_has_where_its_time_went_and_that_its_host_fails_other_jobs(clickhouse: Client) -> None:
    past = History()
    past.steady(BEFORE, AFTER, 5, replace(GLOBEX, host="host-1"), 0.6)
    past.steady(BEFORE, AFTER, 10, GLOBEX, 0.01)
    full = ("OSError", "no space left on device")
    first = replace(ACME, wait_ms=5_000, run_ms=1_000, error=full, final=False)
    job_id = past.add(first)
    again = replace(first, at=NOON + timedelta(seconds=60), attempt=2, wait_ms=100, final=True, job_id=job_id)
    past.add(again)
    past.write(clickhouse)
    story = job_story(clickhouse, job_id)
    assert (story.tenant, story.state) == ("acme", "failed")
    assert [(phase.doing, round(phase.ms)) for phase in story.phases][:2] == [("waiting", 5_000), ("running", 1_000)]
    text = "\n".join(story.verdicts)
    assert "host host-1 fails jobs of others too" in text
    assert "2 attempts failed the same way (OSError)" in text
    assert {(each.host, each.tenant, each.error_type) for each in story.failed_nearby} == {
        ("host-1", "globex", "ConnectionError")
    }
    with pytest.raises(UnknownJob):
        job_story(clickhouse, "01a20bcf-7638-75c2-8983-5243777a9632")


def test_a_start_without_an_outcome_is_a_lost_worker(clickhouse: Client) -> None:
    past = History()
    job_id = past.add(replace(ACME, run_ms=500))
    past.add(replace(ACME, run_ms=60_000, job_id=job_id))
    past.write(clickhouse)
    clickhouse.command(
        "ALTER TABLE job_events DELETE WHERE kind = 'succeeded' AND run_ms = 500 SETTINGS mutations_sync = 2"
    )
    assert any("worker was lost" in verdict for verdict in job_story(clickhouse, job_id).verdicts)


def test_error_families_are_new_returning_regressed_or_known(clickhouse: Client) -> None:
    past = History()
    day = timedelta(days=1)
    everyday = ("TimeoutError", "no answer from 10.1.2.3 after 30 s")
    worse = ("ValueError", "cannot parse page 7 of acme")
    for days in range(10, 0, -1):
        past.steady(NOON - days * day, NOON - days * day + timedelta(hours=1), 2, replace(ACME, error=everyday), 0.1)
        past.steady(NOON - days * day, NOON - days * day + timedelta(hours=1), 2, replace(ACME, error=worse), 0.05)
    old = ("KeyError", "no tenant 42 in cache")
    past.steady(NOON - 9 * day, NOON - 9 * day + timedelta(hours=1), 1, replace(ACME, error=old), 0.5)
    past.steady(NOON, AFTER, 5, replace(ACME, error=worse, worker_version="1.4.2"), 0.5)
    past.steady(NOON, AFTER, 1, replace(ACME, error=everyday, worker_version="1.4.2"), 0.1)
    past.add(replace(ACME, at=NOON + timedelta(minutes=3), error=("KeyError", "no tenant 77 in cache")))
    for number, where in enumerate(("invoice", "receipt", "letter")):
        fault = ("TemplateMissing", f"template {where}.html is not in release 1.4.{number}")
        past.add(replace(ACME, at=NOON + timedelta(minutes=5 + number), error=fault))
    past.write(clickhouse)
    change(clickhouse, NOON, "1.4.2")
    found = error_families(clickhouse, SPAN)
    assert found.deploy is not None and found.deploy.version == "1.4.2"
    states = {each.error_type: each.state for each in found.families}
    assert states == {
        "TemplateMissing": "new", "KeyError": "returning", "ValueError": "regressed", "TimeoutError": "known",
    }  # fmt: skip
    missing = next(each for each in found.families if each.error_type == "TemplateMissing")
    assert missing.count == 3 and missing.template.startswith("template") and "in release" in missing.template
    assert [each.state for each in found.families] == ["new", "returning", "regressed", "known"]


def verdicts(client: Client, span: Window = SPAN) -> set[tuple[str, str]]:
    return {(each.kind, each.subject) for each in find_bottleneck(client, span).verdicts}


def test_a_quiet_lane_has_no_bottleneck(clickhouse: Client) -> None:
    past = History()
    past.steady(BEFORE, AFTER, 10, ACME)
    past.write(clickhouse)
    assert verdicts(clickhouse) == {("none", "")}


def slots(past: History, like: Attempt, count: int, start: datetime, end: datetime) -> None:
    """`count` slots of one worker kept busy without a gap by attempts like `like`."""
    for slot in range(count):
        at = start + timedelta(milliseconds=slot)
        while at < end:
            past.add(replace(like, at=at - timedelta(milliseconds=like.wait_ms)))
            at += timedelta(milliseconds=like.run_ms)


def test_workers_that_run_all_they_can_are_saturated(clickhouse: Client) -> None:
    past = History()
    for worker in ("w1", "w2"):
        slots(past, replace(ACME, worker_id=worker, wait_ms=30_000, run_ms=5_000), 4, NOON, AFTER)
    past.write(clickhouse)
    assert ("saturation", "lane default") in verdicts(clickhouse)


def test_a_tenant_at_its_ceiling_with_workers_free_has_a_limit_of_its_own(clickhouse: Client) -> None:
    past = History()
    slots(past, replace(ACME, wait_ms=60_000, run_ms=5_000), 2, NOON, AFTER)
    slots(past, replace(GLOBEX, worker_id="worker-1", run_ms=1_000), 20, NOON - timedelta(minutes=10), NOON)
    past.steady(NOON, AFTER, 20, replace(GLOBEX, worker_id="worker-1", wait_ms=30))
    past.write(clickhouse)
    assert verdicts(clickhouse) == {("tenant_limit", "tenant acme")}


def test_a_type_that_waits_for_a_dependency_differs_from_one_that_computes(clickhouse: Client) -> None:
    past = History()
    past.steady(BEFORE, NOON, 10, replace(ACME, run_ms=200))
    past.steady(NOON, AFTER, 10, replace(ACME, run_ms=4_000, wait_ms=3_000))
    past.write(clickhouse)
    assert "slow_dependency" not in {kind for kind, _ in verdicts(clickhouse)}, "these attempts use half a CPU"
    clickhouse.command("ALTER TABLE job_attempts UPDATE cpu_ms = run_ms / 50 WHERE 1 SETTINGS mutations_sync = 2")
    assert ("slow_dependency", "type reports.render") in verdicts(clickhouse)


def test_one_hot_partition_and_workers_without_one_are_found(clickhouse: Client) -> None:
    past = History()
    for partition in range(4):
        hot = partition == 3
        like = replace(ACME, partition=partition, worker_id=f"w{partition}", wait_ms=20_000 if hot else 20)
        past.steady(BEFORE, AFTER, 20 if hot else 5, like)
    past.write(clickhouse)
    assert ("skewed_partition", "partition default/3") in verdicts(clickhouse)
    past.steady(BEFORE, NOON, 1, replace(ACME, worker_id="w9", partition=0))
    past.write(clickhouse)
    assert ("too_few_partitions", "4 partitions") in verdicts(clickhouse)


def test_a_bad_deploy_is_worse_and_its_canary_says_so_and_a_good_one_makes_no_difference(clickhouse: Client) -> None:
    past = History()
    past.steady(NOON - timedelta(hours=2), NOON, 20, ACME, 0.01)
    past.steady(NOON, AFTER, 10, ACME, 0.01)
    past.steady(NOON, AFTER, 10, replace(ACME, worker_version="1.4.2"), 0.3)
    past.write(clickhouse)
    change(clickhouse, NOON - timedelta(hours=1), "1.4.1")
    change(clickhouse, NOON, "1.4.2")
    good, bad = deploy_effects(clickhouse, Window(NOON - timedelta(hours=2), AFTER))
    assert (good.change.version, good.verdict, good.canary) == ("1.4.1", "no difference", None)
    assert (bad.change.version, bad.verdict) == ("1.4.2", "worse")
    assert bad.canary is not None and bad.canary.verdict == "worse"
    assert bad.canary.new.failure_rate == pytest.approx(0.3, abs=0.1)


def test_who_waits_behind_whom(clickhouse: Client) -> None:
    past = History()
    slots(past, replace(GLOBEX, run_ms=10_000), 4, NOON, AFTER)
    past.steady(NOON, AFTER, 5, replace(ACME, wait_ms=20_000, run_ms=50))
    past.write(clickhouse)
    found = noisy_neighbours(clickhouse, SPAN)
    (said,) = found.verdicts
    assert said.startswith("acme waits") and "behind globex" in said
    worst = max((each for each in found.blames if each.victim == "acme"), key=lambda each: each.waited_s)
    assert worst.culprit == "globex" and worst.share > 0.9 and worst.busy_share > 0.9
    quiet = noisy_neighbours(clickhouse, Window(BEFORE, NOON))
    assert quiet.verdicts == ["no tenant waits longer than 1 s (p95)"]


def test_two_windows_differ_by_the_values_that_changed(clickhouse: Client) -> None:
    past = History()
    past.steady(BEFORE, AFTER, 10, GLOBEX, 0.02)
    past.steady(BEFORE, NOON, 10, ACME, 0.02)
    past.steady(NOON, AFTER, 10, ACME, 0.4)
    past.write(clickhouse)
    found = compare(clickhouse, Side(Window(BEFORE, NOON)), Side(SPAN))
    assert found.of_b.failure_rate > 0.15 > found.of_a.failure_rate
    assert {("tenant", "acme"), ("job_type", "reports.render"), ("host", "host-1")} <= {
        (each.dimension, each.value) for each in found.differences
    }
    assert "globex" not in {each.value for each in found.differences}
    sides = compare(clickhouse, Side(SPAN, "tenant", "acme"), Side(SPAN, "tenant", "globex"))
    assert sides.of_a.failure_rate > 0.3
    assert sides.of_b.failure_rate < 0.1
