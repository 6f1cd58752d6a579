"""Draws a dashboard without Grafana: ``python -m deploy.grafana.picture http://127.0.0.1:9090 service service.png``.

The same charts, from the same expressions, asked of a Prometheus over the last minutes. Requires matplotlib
(requirements/train.txt). For a report, or where Grafana is not at hand; it also shows that the charts show something.

Source: Prometheus, HTTP API, range queries.
"""

import argparse
import json
import re
import time
import urllib.parse
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deploy.grafana.generate import ACROSS, DASHBOARDS, dashboard

# Each chart, in inches.
WIDTH, HEIGHT = 5.2, 2.9
POINTS = 120
MOST_NAMES = 8
# Of Grafana -> written behind a number.
UNITS = {"s": "s", "bytes": "B"}


def filled(expression: str, interval: str) -> str:
    """An expression with all instances, all models and this interval in place of Grafana's variables."""
    for variable, value in {"$instance": ".*", "$model": ".*", "$__rate_interval": interval}.items():
        expression = expression.replace(variable, value)
    return expression


def draw(prometheus: str, name: str, target: Path, *, minutes: float, interval: str) -> dict[str, int]:
    """Write the picture; returns the title of each chart -> number of its series.

    Args:
        prometheus: its address.
        name: of the dashboard.
        target: a file that ends in ``.png`` or ``.svg``.
        minutes: how far back.
        interval: of rates, such as ``1m``.
    """
    from matplotlib.figure import Figure

    panels, now = dashboard(name)["panels"], time.time()
    rows = -(-len(panels) // ACROSS)
    figure = Figure(figsize=(WIDTH * ACROSS, HEIGHT * rows), layout="constrained")
    figure.suptitle(f"{DASHBOARDS[name][0]}, {datetime.fromtimestamp(now, UTC):%Y-%m-%d %H:%M} UTC", fontsize=12)
    counts = {}
    for place, panel in enumerate(panels):
        axes = figure.add_subplot(rows, ACROSS, place + 1)
        axes.set_title(panel["title"], fontsize=9)
        for query in panel["targets"]:
            for series in _ask(prometheus, filled(query["expr"], interval), now, minutes):
                _plot(axes, series, query["legendFormat"], now)
        counts[panel["title"]] = len(axes.lines)
        axes.set_xlim(-minutes, 0)
        _finish(axes, panel["fieldConfig"]["defaults"]["unit"])
    figure.savefig(target, dpi=80)
    return counts


def _ask(prometheus: str, expression: str, now: float, minutes: float) -> list[dict[str, Any]]:
    seconds = 60 * minutes
    asked = {"query": expression, "start": now - seconds, "end": now, "step": max(1.0, seconds / POINTS)}
    with urllib.request.urlopen(f"{prometheus}/api/v1/query_range?{urllib.parse.urlencode(asked)}") as reply:
        found: list[dict[str, Any]] = json.load(reply)["data"]["result"]
    return found


def _plot(axes: Any, series: dict[str, Any], legend: str, now: float) -> None:
    legend = re.sub(r"\{\{(\w+)\}\}", lambda found: series["metric"].get(found[1], ""), legend)  # as Grafana does
    axes.plot(
        [(float(at) - now) / 60 for at, _ in series["values"]],
        [float(value) for _, value in series["values"]],
        linewidth=1.2,
        label=legend,
    )


def _finish(axes: Any, unit: str) -> None:
    from matplotlib.ticker import EngFormatter, PercentFormatter

    if unit == "percentunit":
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    elif unit in UNITS:
        axes.yaxis.set_major_formatter(EngFormatter(unit=UNITS[unit]))
    axes.set_ylim(bottom=0)
    axes.tick_params(labelsize=7)
    axes.set_xlabel("minutes", fontsize=7)
    axes.grid(alpha=0.3)
    lines, names = axes.get_legend_handles_labels()
    if names:
        axes.legend(lines[:MOST_NAMES], names[:MOST_NAMES], fontsize=6, loc="upper left")
    else:
        axes.text(0.5, 0.5, "no series", transform=axes.transAxes, ha="center", color="grey")


def main() -> None:
    """Draw one dashboard."""
    parser = argparse.ArgumentParser(prog="python -m deploy.grafana.picture", description="Draws a dashboard.")
    parser.add_argument("prometheus", help="address, such as http://127.0.0.1:9090")
    parser.add_argument("dashboard", choices=DASHBOARDS)
    parser.add_argument("target", type=Path, help="a .png or .svg file")
    parser.add_argument("--minutes", type=float, default=15, help="how far back (15)")
    parser.add_argument("--interval", default="1m", help="of rates (1m)")
    arguments = parser.parse_args()
    draw(
        arguments.prometheus.rstrip("/"),
        arguments.dashboard,
        arguments.target,
        minutes=arguments.minutes,
        interval=arguments.interval,
    )


if __name__ == "__main__":
    main()
