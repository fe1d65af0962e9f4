"""The Grafana dashboard: every panel has a place of its own, and costly ones are in the collapsed row."""

from itertools import combinations
from typing import Any

from millstream.analytics.warehouse.catalogue import view
from millstream.analytics.warehouse.dashboard import WIDTH, dashboard
from millstream.analytics.warehouse.panels import PANELS, VARIABLES, rendered_sql


def placed(panels: list[dict[str, Any]]) -> list[tuple[range, range]]:
    spots = [panel["gridPos"] for panel in panels]
    return [(range(each["x"], each["x"] + each["w"]), range(each["y"], each["y"] + each["h"])) for each in spots]


def test_no_two_panels_overlap_and_none_leaves_the_grid() -> None:
    *opened, closed = dashboard()["panels"]
    for panels in (opened, closed["panels"]):
        spots = placed(panels)
        assert all(0 <= across.start < across.stop <= WIDTH for across, _ in spots)
        for (across, down), (other_across, other_down) in combinations(spots, 2):
            assert not (set(across) & set(other_across) and set(down) & set(other_down))


def test_panels_that_read_rows_one_by_one_are_in_the_collapsed_row() -> None:
    *opened, closed = dashboard()["panels"]
    by_title = {panel.title: panel for panel in PANELS}
    assert not any(view(by_title[panel["title"]].view).reads_rows for panel in opened)
    assert all(view(by_title[panel["title"]].view).reads_rows for panel in closed["panels"])
    assert closed["collapsed"]


def test_a_rendered_panel_has_no_variable_left() -> None:
    assert not any("${" in rendered_sql(panel, 0, 3_600_000) for panel in PANELS)
    assert {each["name"] for each in dashboard()["templating"]["list"]} == set(VARIABLES)
