"""Parses and checks `--scenario` and `--urgent` of `millstream simulate`."""

import math
from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches

from millstream.analytics.simulation.simulation import Scenario

MOST = 100_000
"""Workers, slots of one worker, or workers of a lane: an upper limit that can still be replayed."""

KEYS = ("workers", "concurrency", "price")


def parsed(text: str, usual: Scenario, lanes: Sequence[str]) -> Scenario:
    """`usual` changed by `text`, such as workers=8,concurrency=10,price=0.192,high=2. `lanes`: the existing lanes.

    Raises `ValueError`, which names the key, the value and what is allowed.
    """
    given: dict[str, str] = {}
    for pair in text.split(","):
        key, equals, value = (part.strip() for part in pair.partition("="))
        if not equals:
            raise ValueError(f"{pair.strip()!r} is not NAME=VALUE")
        if key not in KEYS and key not in lanes:
            known = f"{', '.join(KEYS)} and the lanes {', '.join(lanes)}"
            raise ValueError(f"{key}={value}: there is no {key!r}, only {known}{_meant(key, (*KEYS, *lanes))}")
        if key in given:
            raise ValueError(f"{key}={value}: {key} is given twice; the first value was {given[key]}")
        given[key] = value
    price = given.pop("price", None)
    counts = {key: _count(key, value) for key, value in given.items()}
    return replace(
        usual,
        name=text,
        workers=counts.pop("workers", usual.workers),
        concurrency=counts.pop("concurrency", usual.concurrency),
        price_per_hour=usual.price_per_hour if price is None else _price(price),
        kept=counts,
    )


def urgency(text: str, lanes: Sequence[str]) -> tuple[str, ...]:
    """The lanes of a list such as high,default. Raises `ValueError` for an unknown lane."""
    named = tuple(lane.strip() for lane in text.split(",") if lane.strip())
    for lane in named:
        if lane not in lanes:
            raise ValueError(f"--urgent {lane}: the lanes are {', '.join(lanes)}{_meant(lane, lanes)}")
    return named


def _meant(word: str, known: Sequence[str]) -> str:
    close = get_close_matches(word, known, 1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _count(key: str, value: str) -> int:
    # Not int() alone, which takes 1_000 and the digits of any script.
    if not (value.isascii() and value.isdigit() and 1 <= int(value[: len(str(MOST)) + 1]) <= MOST):
        raise ValueError(f"{key}={value}: {value!r} is not a whole number from 1 to {MOST}")
    return int(value)


def _price(value: str) -> float:
    try:
        price = float(value)
    except ValueError:
        price = math.nan
    if not 0 <= price < math.inf:
        raise ValueError(f"price={value}: {value!r} is not a number from 0 on, the price of one worker an hour")
    return price
