"""The table and the JSON document of many hot reloads."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from rich.table import Table

from benchmarks.reload import SETTLED_AFTER, Reloads


def reload_table(found: Reloads, versions: Sequence[Path], *, rate_per_s: float) -> Table:
    """The measured figures and their limits."""
    sizes, tally, growth, count = found.sizes, found.tally, found.growth, len(found.reload_s)
    table = Table(
        "figure", "measured", "limit", title=f"{count} reloads at {rate_per_s:g} requests/s: {_names(versions)}"
    )
    table.add_row("good requests answered with 200", str(tally.codes.get(200, 0)), "")
    table.add_row("good requests lost", str(tally.lost), "0")
    table.add_row("wrong answers", str(sum(tally.wrong.values())), "0")
    table.add_row("bad requests without 4xx", str(sum(tally.accepted.values())), "0")
    table.add_row("bad requests, clients that left", f"{sum(tally.refused.values())}, {tally.gone}", "")
    table.add_row(f"memory per reload after the {SETTLED_AFTER}th, MB", f"{growth.slope:+.4f}", f"{growth.limit}")
    table.add_row("memory per reload by least squares, MB", f"{growth.least_squares:+.4f}", "")
    places = sorted({0, SETTLED_AFTER, *range(0, count, 100), count})
    table.add_row("memory after reload, MB", ", ".join(f"{each}: {sizes[each].resident_mb:.0f}" for each in places), "")
    table.add_row("memory without load, at the start and at the end, MB", _both(found, "resident_mb"), "")
    table.add_row("most memory, MB", f"{max(each.resident_mb for each in sizes):.0f}", "")
    table.add_row("a reload, median and longest, s", f"{median(found.reload_s):.2f}, {max(found.reload_s):.2f}", "")
    table.add_row("request p50, p99, ms", f"{found.latency_ms(50):.2f}, {found.latency_ms(99):.2f}", "")
    for name in ("descriptors", "threads"):
        table.add_row(f"{name} without load, at the start and at the end", _both(found, name), "")
    return table


def reload_document(found: Reloads, versions: Sequence[Path], *, rate_per_s: float, pause_s: float) -> dict[str, Any]:
    """All results, for JSON."""
    tally = found.tally
    return {
        "models": _names(versions).split(", "),
        "reloads": len(found.reload_s),
        "rate_per_s": rate_per_s,
        "pause_s": pause_s,
        "faults": found.faults,
        "growth_mb_per_reload": asdict(found.growth),
        "codes": dict(tally.codes),
        "wrong": dict(tally.wrong),
        "refused": dict(tally.refused),
        "gone": tally.gone,
        "p50_ms": round(found.latency_ms(50), 2),
        "p99_ms": round(found.latency_ms(99), 2),
        "reload_s": [round(each, 3) for each in found.reload_s],
        "resident_mb": [round(each.resident_mb, 1) for each in found.sizes],
        "proportional_mb": [round(each.proportional_mb, 1) for each in found.sizes],
        "settled": asdict(found.settled),
        "descriptors": [each.descriptors for each in found.sizes],
        "threads": [each.threads for each in found.sizes],
    }


def _both(found: Reloads, name: str) -> str:
    return f"{getattr(found.sizes[0], name):.0f}, {getattr(found.settled, name):.0f}"


def _names(versions: Sequence[Path]) -> str:
    return ", ".join(each.parent.name for each in versions)
