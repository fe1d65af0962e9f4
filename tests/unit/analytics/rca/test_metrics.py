"""The table of metrics: each entry names columns, files and metrics that exist."""

import pytest

from millstream.analytics.rca.metrics import EXPLAINABLE, METRICS, Metric, UnknownMetric, metric_named
from millstream.analytics.sql import statement
from millstream.analytics.warehouse.catalogue import view
from millstream.pages.format import amount

EACH = pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)


def test_no_two_metrics_have_one_name() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)


def test_an_unknown_metric_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(UnknownMetric, match=r"unknown metric 'latency'; known are failure_rate, "):
        metric_named("latency")


@EACH
def test_a_metric_is_found_by_its_name(metric: Metric) -> None:
    assert metric_named(metric.name) is metric


@EACH
def test_the_chart_shows_a_column_of_the_view_of_time_series(metric: Metric) -> None:
    assert metric.chart.column in view("rca_timeseries").columns_named


@EACH
def test_detection_reads_columns_and_parameters_of_the_view_it_names(metric: Metric) -> None:
    source = view(metric.source.view)
    assert {"step", "dimension", "value", metric.source.values, metric.source.trials} <= set(source.columns_named)
    assert {"from", "to", "step_seconds", *metric.source.arguments} == set(source.parameters)


@EACH
def test_what_explains_a_metric_can_be_explained(metric: Metric) -> None:
    assert metric.cause_metric in ("", *EXPLAINABLE)
    assert metric.attempts is None or metric.cause_metric == metric.name


@EACH
def test_numbers_of_a_kind_are_read_by_a_file_that_uses_every_part(metric: Metric) -> None:
    per_kind = metric.attempts.per_kind if metric.attempts else None
    if metric.attempts is None or per_kind is None:
        assert metric.attempts is None or "{per_kind}" not in metric.attempts.bad
        return
    assert "{per_kind}" in metric.attempts.bad
    text = statement(f"rca/sql/{per_kind.file}", windows="1", start="2026-11-24", **per_kind.parts)
    assert all(part in text for part in per_kind.parts.values())


@EACH
def test_values_are_written_with_their_unit(metric: Metric) -> None:
    assert amount(metric.name, 0.25).endswith(("%", " ms", " a step"))
