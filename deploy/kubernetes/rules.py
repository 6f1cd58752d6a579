"""Writes the alerts for the Prometheus operator: ``python -m deploy.kubernetes.rules``.

The groups of deploy/prometheus/rules become one PrometheusRule, which is a component of the Kubernetes manifests.

Source: Prometheus operator, API reference, PrometheusRule (monitoring.coreos.com/v1).
"""

from pathlib import Path
from typing import Any

import yaml

RULES = Path(__file__).parents[1] / "prometheus/rules"
FILE = Path(__file__).parent / "components/monitoring/rules.yaml"
HEAD = "# Generated from deploy/prometheus/rules: python -m deploy.kubernetes.rules\n"


def prometheus_rule() -> str:
    """The text of the manifest."""
    groups: list[Any] = []
    for path in sorted(RULES.glob("*.yml")):
        groups += yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
    manifest = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "atelier", "namespace": "atelier"},
        "spec": {"groups": groups},
    }
    text: str = yaml.safe_dump(manifest, sort_keys=False, width=120, allow_unicode=True)
    return HEAD + text


if __name__ == "__main__":
    FILE.write_text(prometheus_rule(), encoding="utf-8")
