"""Makes deploy/grafana/millstream.json."""

import json
from pathlib import Path

from millstream.analytics.warehouse.dashboard import dashboard

if __name__ == "__main__":
    file = Path(__file__).parents[1] / "deploy" / "grafana" / "millstream.json"
    file.write_text(json.dumps(dashboard(), indent=2) + "\n", "utf-8")
