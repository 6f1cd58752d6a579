"""Medians with their spread, and ratios of Atelier within each repeat, computed from the results of ``run``."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from benchmarks.serving.load import Load
from benchmarks.serving.run import Found
from benchmarks.serving.servers import SERVERS
from benchmarks.serving.workloads import ATELIER, BEST_PEER, FLOOR, MANY, WORKLOADS, Target, Workload

KEPT_UP = 0.95
"""Share of the requested rate below which the server counts as overloaded in an open loop."""


@dataclass(frozen=True)
class Spread:
    """A figure over the repeats."""

    median: float
    minimum: float
    maximum: float


@dataclass(frozen=True)
class Row:
    """One server under one workload.

    Attributes:
        of_floor: its rate divided by the floor's of the same repeat; None without a floor to compare with.
        missing: why it was not measured; None if it was.
    """

    server: str
    rate_per_s: Spread | None
    of_floor: Spread | None
    p50_ms: Spread | None
    p99_ms: Spread | None
    errors: int
    asked_per_s: Spread | None
    late_p99_ms: Spread | None
    missing: str | None


@dataclass(frozen=True)
class Ratio:
    """A figure of Atelier, its target, and whether that was met; ``met`` is None if it is only reported.

    Attributes:
        against: as the target names it, and the name of the best peer.
        value: None if it could not be measured; ``missing`` gives the reason.
    """

    workload: str
    target: Target
    against: str | None
    value: Spread | None
    met: bool | None
    missing: str | None


def spread(values: list[float]) -> Spread | None:
    """The spread of values; None without values."""
    return Spread(median(values), min(values), max(values)) if values else None


def rows(workload: Workload, found: Found) -> list[Row]:
    """Measured servers, fastest first, then those that were not measured."""
    names = [name for name in (*SERVERS, "in-process") if (workload.name, name) in {*found.loads, *found.missing}]
    floor = found.loads.get((workload.name, FLOOR), {})
    made = [_row(name, found.loads.get((workload.name, name), {}), floor, found, workload) for name in names]
    return sorted(made, key=lambda row: -row.rate_per_s.median if row.rate_per_s else 1)


def ratios(found: Found, workloads: tuple[str, ...]) -> list[Ratio]:
    """Every target of every workload."""
    return [_ratio(WORKLOADS[name], target, found) for name in workloads for target in WORKLOADS[name].targets]


def _row(name: str, loads: Mapping[int, Load], floor: Mapping[int, Load], found: Found, workload: Workload) -> Row:
    every = list(loads.values())
    open_loop = workload.open_loop_of is not None
    return Row(
        name,
        spread([one.rate_per_s for one in every]),
        None if open_loop else spread([one.rate_per_s / floor[n].rate_per_s for n, one in loads.items() if n in floor]),
        spread([one.p50_ms for one in every]),
        spread([one.p99_ms for one in every]),
        sum(one.errors for one in every),
        spread([one.asked_per_s for one in every if one.asked_per_s is not None]),
        spread([one.late_p99_ms for one in every if one.late_p99_ms is not None]),
        found.missing.get((workload.name, name)),
    )


def _ratio(workload: Workload, target: Target, found: Found) -> Ratio:
    ours = found.loads.get((workload.name, ATELIER), {})
    if not ours:
        return _unknown(workload, target, found.missing.get((workload.name, ATELIER), "Atelier was not measured"))
    if target.figure == "tail":
        for one in ours.values():
            if one.asked_per_s is not None and one.rate_per_s < KEPT_UP * one.asked_per_s:
                why = f"it answered {one.rate_per_s:,.0f}/s of {one.asked_per_s:,.0f}/s: both latencies are of a queue"
                return _unknown(workload, target, why, met=False)
        return _judged(workload, target, None, [one.p99_ms / one.p50_ms for one in ours.values()], ours)
    source, name = _opponent(workload, target, found)
    theirs = found.loads.get((source, name), {})
    if not theirs:
        why = found.missing.get((workload.name, name), f"{name} was not measured")
        return _unknown(workload, target, why)
    both = sorted(ours.keys() & theirs.keys())
    if target.figure == "p50":
        values = [ours[n].p50_ms / theirs[n].p50_ms for n in both]
    elif target.figure == "p99":
        values = [ours[n].p99_ms / theirs[n].p99_ms for n in both]
    elif target.against == MANY:  # the remaining share, not the gain of a single model
        values = [theirs[n].rate_per_s / ours[n].rate_per_s for n in both]
    else:
        values = [ours[n].rate_per_s / theirs[n].rate_per_s for n in both]
    return _judged(workload, target, name, values, ours)


def _opponent(workload: Workload, target: Target, found: Found) -> tuple[str, str]:
    """Workload and server to compare with; for the best peer, the one with the highest median rate."""
    if target.against != BEST_PEER:
        return workload.name, str(target.against)
    rates = {
        (source, name): median(one.rate_per_s for one in loads.values())
        for (source, name), loads in found.loads.items()
        if source in (workload.name, *workload.peers_of) and name in SERVERS and SERVERS[name].peer and loads
    }
    return max(rates, key=lambda key: rates[key], default=(workload.name, BEST_PEER))


def _judged(
    workload: Workload, target: Target, name: str | None, values: list[float], ours: Mapping[int, Load]
) -> Ratio:
    value = spread(values)
    if value is None:
        return _unknown(workload, target, "never measured in the same repeat")
    met = None
    if target.at_least is not None:
        met = value.median >= target.at_least
    if target.at_most is not None:
        met = value.median <= target.at_most
    if met and any(one.errors for one in ours.values()):
        met = False
    return Ratio(workload.name, target, name, value, met, None)


def _unknown(workload: Workload, target: Target, why: str, *, met: bool | None = None) -> Ratio:
    return Ratio(workload.name, target, target.against, None, met, why)
