"""The results as tables, and as a document for benchmarks/results/."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.serving.load import as_record
from benchmarks.serving.run import Found, Plan
from benchmarks.serving.servers import REPOSITORY, SERVERS
from benchmarks.serving.summary import Ratio, Row, Spread, ratios, rows, spread
from benchmarks.serving.workloads import MANY, WORKLOADS, Target, Workload


def show(console: Console, plan: Plan, found: Found) -> None:
    """A table for each workload, and one of the targets."""
    for name in plan.workloads:
        workload = WORKLOADS[name]
        console.print(_workload_table(workload, rows(workload, found)))
    console.print(_ratio_table(ratios(found, plan.workloads)))
    console.print(
        "Medians over the repeats (smallest to largest); ratios within a repeat, then their median. "
        "A server that was not measured is not said to be slower."
    )


def document(plan: Plan, found: Found, *, wrk: str) -> dict[str, Any]:
    """All results, for JSON; the date and the machine are added when it is written."""
    return {
        "plan": {
            "seconds": plan.seconds,
            "repeats": plan.repeats,
            "server_cores": 1,
            "load_cores": 1,
            "load_generators": [wrk, "benchmarks.serving.open_loop"],
            "load_average_before": round(plan.load_average, 2),
        },
        "servers": {
            name: {
                "title": SERVERS[name].title,
                "settings": SERVERS[name].settings,
                "versions": found.versions.get(name, "this project's, under machine"),
                "ready_s": _record(spread([start.ready_s for start in found.starts.get(name, [])])),
                "memory_mb": _record(spread([start.resident_mb for start in found.starts.get(name, [])])),
            }
            for name in plan.servers
        },
        "targets": [_ratio_record(ratio) for ratio in ratios(found, plan.workloads)],
        "workloads": {
            name: {
                "title": WORKLOADS[name].title,
                "connections": WORKLOADS[name].connections if WORKLOADS[name].open_loop_of is None else "open loop",
                "servers": {row.server: _row_record(row, found, name) for row in rows(WORKLOADS[name], found)},
            }
            for name in plan.workloads
        },
    }


def target_text(target: Target) -> str:
    """``>= 0.4``, ``<= 1.5``, or ``reported``."""
    if target.at_least is not None:
        return f">= {target.at_least:g}"
    return f"<= {target.at_most:g}" if target.at_most is not None else "reported"


def ratio_text(ratio: Ratio) -> str:
    """The two figures of a ratio."""
    if ratio.target.figure == "tail":
        return "p99 / p50"
    against = ratio.against or str(ratio.target.against)
    name = f"best peer ({against})" if ratio.target.against == "best peer" and ratio.value else against
    if ratio.target.figure in {"p50", "p99"}:
        return f"{ratio.target.figure} / that of {name}"
    return f"rate of {MANY} / own" if ratio.target.against == MANY else f"rate / that of {name}"


def _workload_table(workload: Workload, found: Sequence[Row]) -> Table:
    load = "open loop" if workload.open_loop_of else f"wrk, {workload.connections} connections"
    table = Table(
        "server", "answers/s", "of the floor", "p50, ms", "p99, ms", "errors", title=f"{workload.title}; {load}"
    )
    if workload.open_loop_of:
        table.add_column("sent late, p99, ms")
    for row in found:
        title = SERVERS[row.server].title if row.server in SERVERS else "ONNX Runtime in process, no server"
        if row.rate_per_s is None:
            table.add_row(title, f"not measured: {row.missing}")
            continue
        cells = [title, _text(row.rate_per_s, ",.0f"), _text(row.of_floor, ".3f"), _text(row.p50_ms, ".2f")]
        cells += [_text(row.p99_ms, ".2f"), str(row.errors)]
        if workload.open_loop_of:
            cells.append(_text(row.late_p99_ms, ".2f"))
        table.add_row(*cells)
    return table


def _ratio_table(found: Sequence[Ratio]) -> Table:
    table = Table("workload", "Atelier's", "measured", "target", "met", title="Targets")
    for ratio in found:
        met = {True: "yes", False: "NO", None: "-"}[ratio.met]
        measured = _text(ratio.value, ".2f") if ratio.value else f"not measured: {ratio.missing}"
        table.add_row(ratio.workload, ratio_text(ratio), measured, target_text(ratio.target), met)
    return table


def _text(value: Spread | None, form: str) -> str:
    if value is None:
        return "-"
    if value.minimum == value.maximum:
        return f"{value.median:{form}}"
    return f"{value.median:{form}} ({value.minimum:{form}} to {value.maximum:{form}})"


def _record(value: Spread | None) -> dict[str, float] | None:
    return None if value is None else {name: round(number, 4) for name, number in asdict(value).items()}


def _plain(reason: str) -> str:
    """The text without paths of this machine."""
    return reason.replace(str(REPOSITORY), ".").replace(str(Path.home()), "~")


def _row_record(row: Row, found: Found, workload: str) -> dict[str, Any]:
    loads = found.loads.get((workload, row.server), {})
    record: dict[str, Any] = {"not_measured": _plain(row.missing)} if row.missing else {}
    if row.rate_per_s is not None:
        record |= {
            "of_floor": _record(row.of_floor),
            "rate_per_s": _record(row.rate_per_s),
            "p50_ms": _record(row.p50_ms),
            "p99_ms": _record(row.p99_ms),
            "errors": row.errors,
            "repeats": [{"repeat": number + 1, **as_record(one)} for number, one in sorted(loads.items())],
        }
    return record


def _ratio_record(ratio: Ratio) -> dict[str, Any]:
    return {
        "workload": ratio.workload,
        "ratio": ratio_text(ratio),
        "target": target_text(ratio.target),
        "measured": _record(ratio.value),
        "met": ratio.met,
        **({"not_measured": _plain(ratio.missing)} if ratio.missing else {}),
    }
