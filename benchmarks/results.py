"""Writes results."""

import json
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from rich.console import Console

from benchmarks.machine import describe

RESULTS = Path(__file__).parent / "results"


def write_result(name: str, result: dict[str, object]) -> None:
    """Write benchmarks/results/NAME.json with the date and the machine."""
    RESULTS.mkdir(exist_ok=True)
    document = {"date": datetime.now(UTC).date().isoformat(), "machine": describe(), **result}
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    Console().print(f"written: {path}")


def spread(values: list[float]) -> dict[str, float]:
    """Minimum, median and maximum of repeats."""
    return {"minimum": min(values), "median": median(values), "maximum": max(values)}
