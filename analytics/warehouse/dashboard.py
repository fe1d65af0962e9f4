"""The Grafana dashboard in Grafana's JSON model, from `panels`; `make docs` writes `deploy/grafana/millstream.json`.

Panels that read attempts or events one by one are in the last row, which is collapsed, so that a dashboard left open
costs little.
"""

from typing import Any

from millstream.analytics.warehouse.catalogue import view
from millstream.analytics.warehouse.panels import PANELS, VARIABLES, Panel

SOURCE = {"type": "grafana-clickhouse-datasource", "uid": "millstream"}
WIDTH, HEIGHT = 24, 9


def dashboard() -> dict[str, Any]:
    """The dashboard in Grafana's own JSON model."""
    on_rollups = [panel for panel in PANELS if not view(panel.view).reads_rows]
    on_rows = [panel for panel in PANELS if view(panel.view).reads_rows]
    placed = _placed(on_rollups, 1, 0)
    below = max(panel["gridPos"]["y"] + HEIGHT for panel in placed)
    closer = {
        "id": len(PANELS) + 1,
        "type": "row",
        "title": "Details: these panels read jobs, attempts or events one by one",
        "collapsed": True,
        "gridPos": {"x": 0, "y": below, "w": WIDTH, "h": 1},
        "panels": _placed(on_rows, len(on_rollups) + 1, below + 1),
    }
    return {
        "uid": "millstream",
        "title": "Millstream",
        "tags": ["millstream"],
        "timezone": "utc",
        "schemaVersion": 39,
        "refresh": "1m",
        "time": {"from": "now-24h", "to": "now"},
        "templating": {"list": [_variable(name, value) for name, value in VARIABLES.items()]},
        "panels": [*placed, closer],
    }


def _placed(panels: list[Panel], first_id: int, top: int) -> list[dict[str, Any]]:
    found, x, y = [], 0, top
    for number, panel in enumerate(panels, first_id):
        if x + panel.width > WIDTH:
            x, y = 0, y + HEIGHT
        found.append(
            {
                "id": number,
                "type": panel.kind,
                "title": panel.title,
                "description": view(panel.view).question,
                "datasource": SOURCE,
                "gridPos": {"x": x, "y": y, "w": panel.width, "h": HEIGHT},
                "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": [_plain(name) for name in panel.counts]},
                "targets": [
                    {
                        "refId": "A",
                        "datasource": SOURCE,
                        "editorType": "sql",
                        "format": 0 if panel.kind == "timeseries" else 1,
                        "queryType": "timeseries" if panel.kind == "timeseries" else "table",
                        "rawSql": panel.sql,
                    }
                ],
            }
        )
        x += panel.width
    return found


def _plain(column: str) -> dict[str, Any]:
    return {"matcher": {"id": "byName", "options": column}, "properties": [{"id": "unit", "value": "short"}]}


def _variable(name: str, value: str) -> dict[str, Any]:
    current = {"text": value, "value": value}
    return {"name": name, "type": "textbox", "label": name, "query": value, "current": current, "options": [current]}
