"""Reads what a simulation replays: the jobs of a window, and its workers with the price of one."""

from collections.abc import Mapping
from dataclasses import dataclass

from clickhouse_connect.driver.client import Client

from millstream.analytics.simulation.simulation import Arrival
from millstream.analytics.sql import rows, sql_file

MOST_JOBS = 300_000


@dataclass(frozen=True)
class Jobs:
    """First attempts that ended in a window, in order of arrival: the first 300,000 of `recorded`."""

    arrivals: list[Arrival]
    recorded: int


@dataclass(frozen=True)
class Workers:
    """The workers of a window; `slots` is of each, on average.

    `price_per_hour` is of one worker: its share of the price of its machine. None where it is not known; `unknown` then
    says why.
    """

    number: int
    slots: int
    price_per_hour: float | None
    unknown: str = ""


def jobs(client: Client, window: Mapping[str, str]) -> Jobs:
    """The jobs of a window: `from` and `to` as text, in UTC."""
    recorded = rows(client, sql_file("simulation/recorded_jobs"), {**window, "most": MOST_JOBS})
    if not recorded:
        return Jobs([], 0)
    first, _, _, count = recorded[0]
    return Jobs([Arrival(due - first, lane, run) for due, lane, run, _ in recorded], count)


def workers(client: Client, window: Mapping[str, str]) -> Workers:
    """The workers of a window: `from` and `to` as text, in UTC; its minutes count as a whole."""
    number, slots, price, unpriced, currencies = rows(client, sql_file("simulation/recorded_workers"), window)[0]
    if not number:
        return Workers(0, 0, None, "no worker sent a heartbeat in this window")
    if unpriced:
        kinds = ", ".join(repr(kind) for kind in sorted(unpriced))
        return Workers(number, round(slots), None, f"the price book has no price for machines of type {kinds}")
    if len(currencies) > 1:
        return Workers(number, round(slots), None, f"prices are in {' and '.join(sorted(currencies))}")
    return Workers(number, round(slots), price)
