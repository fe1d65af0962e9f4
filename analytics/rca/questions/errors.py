"""Error families: which are new, which have returned, which regressed with a deploy.

ClickHouse removes numbers and ids from the messages and counts the rest; messages that then differ in a word or two
are one family by Drain (He, Zhu, Zheng and Lyu, Drain: an online log parsing approach with fixed depth tree, 2017).
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from clickhouse_connect.driver.client import Client

from millstream.analytics.rca.questions.attempt_stats import stats
from millstream.analytics.rca.questions.rates import SURE, Rate, standard_errors
from millstream.analytics.rca.window import Window
from millstream.analytics.sql import MOMENT, ask, moment, window

if TYPE_CHECKING:
    from drain3 import TemplateMiner

HISTORY = timedelta(days=14)
GONE_FOR = timedelta(days=1)
"""A family that was not seen for so long before the window, but earlier, is returning."""

SIMILAR = 0.5
"""The least part of the words that messages of one family share."""

WORSE = 2.0
"""A family regressed when its failures rose by at least this factor with the deploy, beyond chance."""

STATES = ("new", "returning", "regressed", "known")


@dataclass(frozen=True)
class Message:
    """One message without its numbers and ids, as `rca_error_messages` counts it."""

    error_type: str
    message: str
    count: int
    before: int
    before_deploy: int
    after_deploy: int
    first_seen: datetime
    last_before: datetime
    last_seen: datetime
    tenants: list[str]
    job_types: list[str]
    versions: list[str]
    example_job: str
    example_message: str


@dataclass(frozen=True)
class Family:
    """Messages of one template. `state` is new, returning, regressed or known.

    `count` is in the window, `before` in the history before it. `first_seen` is not earlier than the history;
    `last_before` is the last time before the window, None when there was none. `deploy_ratio` is the
    failures per attempt after the deploy over those before it; None without a deploy or without a failure before it.
    """

    state: str
    error_type: str
    template: str
    count: int
    before: int
    first_seen: datetime
    last_before: datetime | None
    last_seen: datetime
    deploy_ratio: float | None
    tenants: list[str]
    job_types: list[str]
    versions: list[str]
    example_job: str
    example_message: str


@dataclass(frozen=True)
class Deploy:
    """The change that families are compared around."""

    occurred_at: datetime
    version: str
    summary: str


@dataclass(frozen=True)
class ErrorFamilies:
    """The families seen in a window: changed ones first, then by count."""

    span: Window
    history_start: datetime
    deploy: Deploy | None
    families: list[Family]


@dataclass(frozen=True)
class _Change:
    occurred_at: datetime
    kind: str
    service: str
    version: str
    summary: str


def error_families(
    client: Client, span: Window, *, history: timedelta = HISTORY, deploy: datetime | None = None
) -> ErrorFamilies:
    """Families of the errors in `span`, compared with `history` before it and around a deploy.

    `deploy`: its time; by default the last deploy in the window or the day before it, if there is one.
    """
    known = ask(client, _Change, "rca_changes", window(span.start - GONE_FOR, span.end))
    deploys = [each for each in known if each.kind == "deploy" and deploy in (None, each.occurred_at)]
    around = (
        Deploy(deploys[-1].occurred_at, deploys[-1].version, deploys[-1].summary)
        if deploys
        else Deploy(deploy, "", "")
        if deploy
        else None
    )
    start = span.start - history
    at = around.occurred_at if around else span.start
    arguments = window(span.start, span.end) | {"history": (MOMENT, moment(start)), "deploy": (MOMENT, moment(at))}
    messages = ask(client, Message, "rca_error_messages", arguments)
    before = stats(client, Window(start, at)).attempts
    after = stats(client, Window(at, span.end)).attempts
    found = [
        _family(template, group, span.start, (before, after) if around else None)
        for template, group in group_messages(messages)
        if any(each.count for each in group)
    ]
    found.sort(key=lambda family: (STATES.index(family.state), -family.count))
    return ErrorFamilies(span, start, around, found)


def group_messages(messages: Sequence[Message]) -> list[tuple[str, list[Message]]]:
    """Group messages by error type and by the template that Drain finds."""
    groups: list[tuple[str, list[Message]]] = []
    by_type: defaultdict[str, list[Message]] = defaultdict(list)
    for each in messages:
        by_type[each.error_type].append(each)
    for alike in by_type.values():
        miner = _miner()
        clusters: defaultdict[int, list[Message]] = defaultdict(list)
        templates: dict[int, str] = {}
        for each in alike:
            mined = miner.add_log_message(each.message or "(no message)")
            cluster = int(mined["cluster_id"])
            clusters[cluster].append(each)
            templates[cluster] = str(mined["template_mined"])
        groups += [(templates[cluster], group) for cluster, group in clusters.items()]
    return groups


def _miner() -> "TemplateMiner":
    # It takes long to load, and only questions about errors that have happened need it.
    from drain3 import TemplateMiner
    from drain3.template_miner_config import TemplateMinerConfig

    config = TemplateMinerConfig()
    config.drain_sim_th = SIMILAR
    config.profiling_enabled = False
    return TemplateMiner(config=config)


def _family(template: str, messages: Sequence[Message], start: datetime, attempts: tuple[int, int] | None) -> Family:
    count, before = sum(each.count for each in messages), sum(each.before for each in messages)
    last_before = max((each.last_before for each in messages if each.before), default=None)
    largest = max(messages, key=lambda each: each.count)
    ratio = None
    regressed = False
    if attempts is not None:
        earlier = Rate(sum(each.before_deploy for each in messages), attempts[0])
        later = Rate(sum(each.after_deploy for each in messages), attempts[1])
        ratio = later.share / earlier.share if earlier.share else None
        regressed = standard_errors(earlier, later) >= SURE and (ratio is None or ratio >= WORSE)
    state = "known"
    if last_before is None:
        state = "new"
    elif last_before < start - GONE_FOR:
        state = "returning"
    elif regressed:
        state = "regressed"
    return Family(
        state,
        largest.error_type,
        template,
        count,
        before,
        min(each.first_seen for each in messages),
        last_before.astimezone(UTC) if last_before else None,
        max(each.last_seen for each in messages),
        ratio,
        sorted({name for each in messages for name in each.tenants}),
        sorted({name for each in messages for name in each.job_types}),
        sorted({name for each in messages for name in each.versions}),
        largest.example_job,
        largest.example_message,
    )
