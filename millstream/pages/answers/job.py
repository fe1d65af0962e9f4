"""One job as a page: where its time went, its events, and what ran beside it."""

from datetime import datetime

from millstream.analytics.rca.questions.job import JobStory
from millstream.pages.format import MOST_ROWS, duration, percent
from millstream.pages.page import Block, Grid, Page


def job_page(story: JobStory) -> Page:
    first = story.timeline[0].occurred_at
    phases = [
        (phase.doing.replace("_", " "), str(phase.attempt), _after(first, phase.started_at), duration(phase.ms),
         phase.worker_id)
        for phase in story.phases
    ]  # fmt: skip
    steps = [
        (_after(first, step.occurred_at), step.kind, str(step.attempt), f"{step.host} {step.worker_version}".strip(),
         f"{step.error_type}: {step.error_message}"[:100] if step.error_type else step.message)
        for step in story.timeline
    ]  # fmt: skip
    places = [
        (str(each.attempt), each.host, each.place.replace("_", " "), f"{each.attempts:,}", f"{each.failed:,}",
         percent(each.failure_rate), duration(each.wait_p95_ms), duration(each.run_p95_ms))
        for each in story.neighbours
    ]  # fmt: skip
    failed = [
        (each.host, each.tenant, each.job_type, each.error_type, f"{each.failed:,}", str(each.example_job),
         each.example_message[:80])
        for each in story.failed_nearby[:MOST_ROWS]
    ]  # fmt: skip
    blocks: list[Block] = [
        Grid("Where its time went", ("doing", "attempt", "after", "for", "worker"), phases, left=(0, 4)),
        Grid("Events", ("after", "event", "attempt", "where", "what"), steps, left=(1, 3, 4)),
    ]
    if places:
        beside = ("attempt", "host", "others", "attempts", "failed", "rate", "wait p95", "run p95")
        blocks.append(Grid("What ran at the same time", beside, places, left=(1, 2)))
    if failed:
        nearby = ("host", "tenant", "job type", "error", "failed", "example", "message")
        blocks.append(Grid("Other failures on its hosts", nearby, failed, left=(0, 1, 2, 3, 5, 6)))
    subtitle = f"{story.job_type} of {story.tenant} on lane {story.lane}: {story.state}"
    return Page(
        f"Job {story.job_id}", subtitle, story.verdicts, blocks, "good" if story.state == "succeeded" else "bad"
    )


def _after(first: datetime, moment: datetime) -> str:
    return duration((moment - first).total_seconds() * 1000)
