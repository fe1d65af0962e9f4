"""What a window has left behind for a replay: its jobs, and the workers that there were with what one of them cost."""

from collections.abc import Mapping
from dataclasses import dataclass

from clickhouse_connect.driver.client import Client

from millstream.analytics.simulation.simulation import Arrival
from millstream.analytics.sql import sql_file

MOST_JOBS = 300_000


@dataclass(frozen=True)
class Jobs:
    """First attempts that ended in a window, by arrival: of `recorded` ones, at most the first 300,000."""

    arrivals: list[Arrival]
    recorded: int


@dataclass(frozen=True)
class Workers:
    """The workers of a window; `slots` is of each, on average.

    `price_per_hour` is of one worker: its share of what its machine cost. It is None where that cannot be said, and
    `unknown` then says why.
    """

    number: int
    slots: int
    price_per_hour: float | None
    unknown: str = ""


def jobs(client: Client, window: Mapping[str, str]) -> Jobs:
    """The jobs of a window: `from` and `to` as text, in UTC."""
    rows = client.query(sql_file("simulation/recorded_jobs"), parameters={**window, "most": MOST_JOBS}).result_rows
    if not rows:
        return Jobs([], 0)
    first = rows[0][0]
    return Jobs([Arrival(due - first, lane, run) for due, lane, run, _ in rows], rows[0][3])


def workers(client: Client, window: Mapping[str, str]) -> Workers:
    """The workers of a window: `from` and `to` as text, in UTC; its minutes count as a whole."""
    rows = client.query(sql_file("simulation/recorded_workers"), parameters=dict(window)).result_rows
    number, slots, price, unpriced, currencies = rows[0]
    if not number:
        return Workers(0, 0, None, "no worker told of itself in this window")
    if unpriced:
        kinds = ", ".join(repr(kind) for kind in sorted(unpriced))
        return Workers(number, round(slots), None, f"the price book has no price for machines of type {kinds}")
    if len(currencies) > 1:
        return Workers(number, round(slots), None, f"prices are in {' and '.join(sorted(currencies))}")
    return Workers(number, round(slots), price)
