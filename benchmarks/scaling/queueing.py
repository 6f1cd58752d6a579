"""A discrete simulation of replicas that take all that waits: what a load will meet, from the curve alone."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.scaling.curve import Curve


@dataclass(frozen=True)
class Prediction:
    """What a load meets.

    Attributes:
        rate_per_s: answers per second, from the first request to the last answer.
        p50_ms, p99_ms: from the time at which a request is due to its answer.
    """

    rate_per_s: float
    p50_ms: float
    p99_ms: float


def poisson(rate_per_s: float, seconds: float, *, seed: int) -> list[float]:
    """Times of requests that do not know of each other: exponential gaps with that mean rate."""
    drawn, times, now = random.Random(seed), [], 0.0
    while (now := now + drawn.expovariate(rate_per_s)) < seconds:
        times.append(now)
    return times


def predict(due_s: Sequence[float], curve: Curve, *, replicas: int, skipped: int) -> Prediction:
    """Requests at these times, to the replicas in turn.

    Args:
        due_s: ascending.
        curve: of each replica.
        replicas: number of them.
        skipped: number of the first requests that do not count for the latency.
    """
    answered = [0.0] * len(due_s)
    for replica in range(replicas):
        mine = range(replica, len(due_s), replicas)
        for number, end in zip(mine, answers([due_s[each] for each in mine], curve), strict=True):
            answered[number] = end
    latencies = sorted(end - due for end, due in zip(answered[skipped:], due_s[skipped:], strict=True))
    return Prediction(
        rate_per_s=len(due_s) / max(answered),
        p50_ms=_nearest(latencies, 0.5) * 1e3,
        p99_ms=_nearest(latencies, 0.99) * 1e3,
    )


def answers(due_s: Sequence[float], curve: Curve) -> list[float]:
    """When one replica answers each request: whenever it is free it takes all that waits, at most a largest turn."""
    ends: list[float] = []
    free = 0.0
    while len(ends) < len(due_s):
        first = len(ends)
        start = max(free, due_s[first])
        last = first + 1
        while last < len(due_s) and last - first < curve.largest and due_s[last] <= start:
            last += 1
        free = start + curve(last - first)
        ends += [free] * (last - first)
    return ends


def _nearest(ordered: Sequence[float], share: float) -> float:
    """Nearest rank."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
