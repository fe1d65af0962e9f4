"""Figures as text, the same in every answer: durations, shares, amounts and windows of time."""

from datetime import datetime

MOST_ROWS = 15
"""Rows of a table in a page; more are only counted."""

HOUR_S, DAY_S = 3_600, 86_400


def duration(ms: float) -> str:
    """A length of time, given in milliseconds: `3.2 ms`, `850 ms`, `12.5 s`, `3.4 min`, `25.0 h`."""
    if ms < 10:
        return f"{ms:,.1f} ms"
    if ms < 1000:
        return f"{ms:,.0f} ms"
    if ms < 120_000:
        return f"{ms / 1000:,.1f} s"
    return f"{ms / 60_000:,.1f} min" if ms < 7_200_000 else f"{ms / 3_600_000:,.1f} h"


def percent(share: float) -> str:
    """A share from 0 to 1: `12.5%`."""
    return f"{share:.1%}"


def amount(metric: str, value: float) -> str:
    """A value of a metric with its unit. Raises `UnknownMetric`."""
    # Commands that only write durations do without what scores causes.
    from millstream.analytics.rca.metrics import Unit, metric_named

    unit = metric_named(metric).unit
    if unit is Unit.SHARE:
        return percent(value)
    if unit is Unit.MILLISECONDS:
        return duration(value)
    return f"{value:,.4g} a step"


def window_text(start: datetime, end: datetime) -> str:
    """`2026-11-24 10:00:00 to 11:00:00 UTC`; the date of the end only where it differs."""
    same_day = start.date() == end.date()
    return f"{start:%Y-%m-%d %H:%M:%S} to {end:{'%H:%M:%S' if same_day else '%Y-%m-%d %H:%M:%S'}} UTC"


def clock_time(moment: datetime, span_s: float) -> str:
    """A moment as a label of an axis that spans so many seconds: with seconds on a short one, with the date on one of
    more than a day."""
    if span_s > DAY_S:
        return f"{moment:%m-%d %H:%M}"
    return f"{moment:%H:%M}" if span_s >= HOUR_S else f"{moment:%H:%M:%S}"


def rate(count: float, seconds: float) -> str:
    """A rate with its unit, in seconds where at least one comes in a second, else in minutes or hours: `12 a second`,
    `16.7 a minute`."""
    for unit, length in (("second", 1), ("minute", 60)):
        if (found := count / seconds * length) >= 1:
            return f"{found:,.3g} a {unit}" if found < 1000 else f"{found:,.0f} a {unit}"
    return f"{count / seconds * HOUR_S:,.3g} an hour"


def bar(share: float, width: int) -> str:
    """A share from 0 to 1 as a bar of at most `width` characters, exact to an eighth of one."""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    return "█" * (eighths // 8) + (" ▏▎▍▌▋▊▉"[eighths % 8] if eighths % 8 else "")
