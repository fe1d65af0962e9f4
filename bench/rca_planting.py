"""Incidents made from real job traces: attempts drawn from a trace, spread over hosts and releases, a cause planted.

Submissions and recorded failures come from the trace; host, release, region, lane and team are drawn. A planted
cause lets a share of the attempts inside it fail on top of those that fail anyway.
"""

import csv
import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from millstream.analytics.rca import Dimension, Leaves

TRACES = Path(__file__).resolve().parents[2] / "shared/data/jobs"

Name = dict[str, str]

KINDS = ("one", "two", "three", "several", "noisy_host", "alias", "global", "none")
SHARES = (0.02, 0.1, 0.3, 1.0)
HOSTS, TYPES = 24, 12


@dataclass(frozen=True)
class Trace:
    """Columns of a trace, one entry a job."""

    tenant: np.ndarray
    gpus: np.ndarray
    failed: np.ndarray


@dataclass(frozen=True)
class Planted:
    """One incident: what was planted, each cause with the names that mean the same rows."""

    kind: str
    share: float
    leaves: Leaves
    causes: list[list[Name]]


def read_trace(path: Path, tenants: int = 40) -> Trace:
    """A trace's jobs of its busiest tenants."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names, numbers = np.unique([row["user"] for row in rows], return_counts=True)
    busiest = set(names[np.argsort(-numbers)[:tenants]].tolist())
    kept = [row for row in rows if row["user"] in busiest]
    return Trace(
        np.array([row["user"] for row in kept]),
        np.array([row["gpu_num"] for row in kept]),
        np.array([row["new_status"] == "Failed" for row in kept]),
    )


def plant(trace: Trace, kind: str, share: float, seed: int, before: int = 40_000, now: int = 20_000) -> Planted:
    """An incident of a kind; `share` of the attempts inside each planted cause fail because of it."""
    draw = np.random.default_rng(seed)
    columns, failed = attempts(trace, before + now, draw)
    window = np.arange(before + now) >= before
    causes: list[list[Name]] = []
    if kind == "global":
        hit = window & (draw.random(len(window)) < share)
        failed = failed | hit
    elif kind != "none":
        orders = {"one": [1], "two": [2], "three": [3], "several": [1, 2], "noisy_host": [0], "alias": [1]}[kind]
        for order in orders:
            cause = _bad_tenant_on_one_host(columns, draw) if order == 0 else _choose(columns, order, draw, kind)
            inside = window & _covers(columns, cause)
            failed = failed | (inside & (draw.random(len(window)) < share))
            team = {"team": f"team of {cause['tenant']}"} if kind == "alias" else {}
            causes.append([cause, team, {**cause, **team}] if team else [cause])
    dimensions = [Dimension.of(name, column) for name, column in columns.items()]
    one, past = window.astype(np.float64), (~window).astype(np.float64)
    bad = failed.astype(np.float64)
    leaves = Leaves(dimensions, bad * past, past, bad * one, one).along(dimensions)
    return Planted(kind, share, leaves, causes)


def attempts(trace: Trace, number: int, draw: np.random.Generator) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Dimension columns of attempts drawn from the trace, and which of them failed in it.

    A tenant has up to four job types, a type its lane, a host its region; half of the hosts run the newer release.
    """
    row = draw.integers(0, len(trace.tenant), number)
    tenant = trace.tenant[row]
    _, code = np.unique(tenant, return_inverse=True)
    kind = (code * 3 + draw.integers(0, 4, number)) % TYPES
    host = draw.integers(0, HOSTS, number)
    columns = {
        "tenant": np.char.add("user-", tenant),
        "job_type": np.char.add("type-", kind.astype(str)),
        "gpus": trace.gpus[row],
        "lane": np.array(["high", "default", "bulk"])[kind % 3],
        "host": np.char.add("host-", host.astype(str)),
        "region": np.array(["eu", "us", "ap"])[host % 3],
        "worker_version": np.where(host % 2 == 0, "4.1.9", "4.2.0"),
        "team": np.char.add("team of user-", tenant),
    }
    return columns, trace.failed[row]


def _choose(columns: dict[str, np.ndarray], order: int, draw: np.random.Generator, kind: str) -> Name:
    """A combination of at least 30 attempts; tenants stand in for teams, which are the same."""
    names: Sequence[str] = [name for name in columns if name != "team"]
    while True:
        chosen = ["tenant"] if kind == "alias" else draw.choice(names, order, replace=False).tolist()
        example = int(draw.integers(0, len(columns["tenant"])))
        cause = {name: str(columns[name][example]) for name in chosen}
        covered = _covers(columns, cause)
        smaller = [_covers(columns, {name: cause[name] for name in chosen if name != left}) for left in chosen]
        # A value that adds nothing to the others (the region of a host) would be an alias of the smaller combination.
        if 200 <= covered.sum() <= len(covered) / 2 and all(covered.sum() < 0.9 * each.sum() for each in smaller):
            return cause


def _bad_tenant_on_one_host(columns: dict[str, np.ndarray], draw: np.random.Generator) -> Name:
    """Half of a tenant's attempts move to one host, so that the host looks bad; the tenant is the cause."""
    cause = _choose(columns, 1, draw, "alias")
    mine = np.flatnonzero(_covers(columns, cause))
    moved = draw.choice(mine, len(mine) // 2, replace=False)
    columns["host"][moved], columns["region"][moved], columns["worker_version"][moved] = "host-7", "us", "4.2.0"
    return cause


def _covers(columns: dict[str, np.ndarray], name: Name) -> np.ndarray:
    mask = np.ones(len(columns["tenant"]), np.bool_)
    for dimension, value in name.items():
        mask &= columns[dimension] == value
    return mask
