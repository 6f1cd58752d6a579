"""Writes the dashboards of deploy/grafana/dashboards: ``python -m deploy.grafana.generate``.

``panels`` has the charts; the rest of Grafana's JSON is the same for all of them. A test queries every expression in a
real Prometheus that scrapes a real service, and ``make grafana-schema`` checks the files against Grafana's own types.

Source: Grafana, Dashboard JSON model and Provision dashboards; schema version 39 (Grafana 11).
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deploy.grafana.panels import MODEL, ROLLOUT, SERVICE, Panel

DIRECTORY = Path(__file__).parent / "dashboards"
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH, HEIGHT, ACROSS = 8, 8, 3
# To the other dashboards, with the time range and the choice of this one.
LINK = {
    "type": "dashboards",
    "title": "Atelier",
    "tags": ["atelier"],
    "asDropdown": True,
    "icon": "external link",
    "tooltip": "",
    "includeVars": True,
    "keepTime": True,
    "targetBlank": False,
}
OPTIONS = {
    "legend": {"showLegend": True, "displayMode": "list", "placement": "bottom", "calcs": []},
    "tooltip": {"mode": "multi", "sort": "desc"},
}

DASHBOARDS = {
    "service": ("Atelier: service", SERVICE, "instance", "label_values(atelier_ready, instance)"),
    "model": ("Atelier: model", MODEL, "model", "label_values(atelier_model_state, model)"),
    "rollout": ("Atelier: rollout", ROLLOUT, "model", "label_values(atelier_model_state, model)"),
}


def dashboard(name: str) -> dict[str, Any]:
    """The JSON of one dashboard."""
    title, panels, variable, values = DASHBOARDS[name]
    return {
        "uid": f"atelier-{name}",
        "title": title,
        "tags": ["atelier"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [_datasource(), _variable(variable, values)]},
        "annotations": {"list": []},
        "links": [LINK],
        "panels": _panels(panels),
    }


def _panels(panels: Sequence[Panel]) -> list[dict[str, Any]]:
    return [
        {
            "id": place + 1,
            "type": "timeseries",
            "title": panel.title,
            "datasource": DATASOURCE,
            "gridPos": {
                "x": WIDTH * (place % ACROSS),
                "y": HEIGHT * (place // ACROSS),
                "w": WIDTH,
                "h": HEIGHT,
            },
            "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
            "options": OPTIONS,
            "targets": [
                {"refId": chr(ord("A") + index), "expr": expression, "legendFormat": legend, "datasource": DATASOURCE}
                for index, (expression, legend) in enumerate(panel.queries.items())
            ],
        }
        for place, panel in enumerate(panels)
    ]


def _datasource() -> dict[str, Any]:
    return {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"}


def _variable(name: str, values: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": values, "refId": name},
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
        "sort": 1,
    }


def main() -> None:
    """Write all of them."""
    for name in DASHBOARDS:
        text = json.dumps(dashboard(name), indent=2) + "\n"
        (DIRECTORY / f"{name}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
