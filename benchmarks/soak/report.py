"""The table, the JSON document and the picture of a soak."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks.machine import describe
from benchmarks.soak.run import Soak


def table_of(found: Soak) -> Table:
    """The measured figures and their limits."""
    plan, tally = found.plan, found.tally
    table = Table("figure", "measured", "limit", title=f"{plan.seconds / 60:g} minutes of mixed load and changes")
    p50, p99 = np.percentile(tally.latencies_s, [50, 99]) * 1e3
    after = f"after minute {plan.warm_up_s / 60:g}"
    for name, one in found.growth.items():
        table.add_row(f"{name} {after}, slope an hour (Theil-Sen)", f"{one.slope:+.2f}", f"{one.limit:g}")
        table.add_row(f"{name} {after}, by least squares", f"{one.least_squares:+.2f}", "")
        table.add_row(f"{name}, first and last tenth {after}", f"{one.first:.0f}, {one.last:.0f}", "")
    table.add_row("most resident memory, MB", f"{max(each.resident_mb for each in found.sizes):.0f}", "")
    table.add_row("good requests answered with 200", str(tally.codes.get(200, 0)), "")
    table.add_row("good requests without 200", f"{tally.lost}; {_counts(tally.unanswered)}", "0")
    table.add_row("wrong answers", str(sum(tally.wrong.values())), "0")
    table.add_row("bad requests by status (0: closed)", _counts(tally.refused), "4xx")
    table.add_row("clients that left", str(tally.gone), "")
    table.add_row("changes", _counts(found.changes), "")
    table.add_row("changes that failed", str(len(found.failed)), "0")
    table.add_row("other errors in the log", str(len(found.errors)), "0")
    table.add_row("request p50 and p99, ms", f"{p50:.1f}, {p99:.1f}", "")
    return table


def document_of(found: Soak) -> dict[str, Any]:
    """All results, for JSON."""
    tally = found.tally
    p50, p99, p999 = np.percentile(tally.latencies_s, [50, 99, 99.9]) * 1e3
    counts = {"gone": tally.gone, "lost": tally.lost}
    counters = {name: dict(getattr(tally, name)) for name in ("codes", "unanswered", "wrong", "refused", "accepted")}
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": describe(),
        "plan": asdict(found.plan),
        "faults": found.faults,
        "growth_per_hour": {name: asdict(one) for name, one in found.growth.items()},
        "requests": counts | counters | {"p50_ms": p50, "p99_ms": p99, "p999_ms": p999},
        "changes": found.changes,
        "failed": found.failed,
        "errors": found.errors,
        "at_s": [round(each, 1) for each in found.at_s],
        "sizes": [asdict(each) for each in found.sizes],
    }


def write(found: Soak, path: Path) -> list[Path]:
    """Write PATH, and a picture next to it if matplotlib is installed. Returns the written paths."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document_of(found), indent=2) + "\n", encoding="utf-8")
    try:
        import matplotlib as mpl
    except ImportError:
        return [path]
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (memory, counts) = plt.subplots(2, 1, figsize=(9, 6), sharex=True)
    minutes = [each / 60 for each in found.at_s]
    memory.plot(minutes, [each.resident_mb for each in found.sizes], label="resident")
    memory.plot(minutes, [each.proportional_mb for each in found.sizes], label="proportional share")
    memory.axvline(found.plan.warm_up_s / 60, color="grey", linestyle=":")
    memory.set(ylabel="MB", ylim=(0, None), title="Memory of the service under mixed load and reloads")
    counts.plot(minutes, [each.descriptors for each in found.sizes], label="descriptors")
    counts.plot(minutes, [each.threads for each in found.sizes], label="threads")
    counts.set(xlabel="minutes", ylim=(0, None))
    for each in (memory, counts):
        each.legend(loc="lower right")
    figure.tight_layout()
    picture = path.with_suffix(".png")
    figure.savefig(picture, dpi=120)
    plt.close(figure)
    return [path, picture]


def _counts(counts: "dict[Any, int]") -> str:
    return ", ".join(f"{name}: {count}" for name, count in sorted(counts.items()))
