"""When the batches of one model version close: as serving.json states, or as derived from the warm-up."""

import math
from bisect import bisect_left
from dataclasses import dataclass

from app.contract.model_spec import ModelSpec
from app.contract.steps import TextPreprocessing
from app.errors import VersionRefused
from app.repository.batching_policy import BatchingPolicy
from app.runtime.warmup import LatencyCurve

# A larger batch must make a row cheaper by this share to justify its latency.
WORTH = 0.05
# Ratios of adjacent length buckets to compare.
RATIOS = (1.19, 1.41, 2.0, 4.0)
SHORTEST_BUCKET = 8
# Cost of a batch besides its call: stacking, splitting, one turn of the event loop.
BATCH_OVERHEAD_S = 60e-6
# The same where batches are as full as they may be, so that the call leaves nothing of the service in the processor's
# caches; and more in a thread, whose hops interrupt the event loop. docs/explanation/batching.md has the figures.
FULL_OVERHEAD_S, THREAD_OVERHEAD_S = 500e-6, 750e-6
# A batch that takes longer than both hangs, unless serving.json sets a limit.
HANGS_AFTER_S = 30.0
HANGS_AFTER_TIMES = 100
# Number of waiting texts assumed when ratios are compared.
WAITING = 32


@dataclass(frozen=True, kw_only=True)
class BatchRules:
    """Resolved batching settings of one version.

    Attributes:
        max_batch_size: most instances in one backend call.
        inline_below_s: batches estimated to be faster than this run on the event loop.
        max_queue_delay_s: age that the oldest work may reach while an idle backend waits for more.
        allowed_batch_sizes: increasing; a batch is padded with rows up to the next of them. Empty allows all.
        length_buckets: increasing; only texts in the same bucket share a batch. Empty: all texts share.
        max_execution_s: a batch that runs for longer hangs; infinite: no limit; None: see ``seconds_allowed``.
        grace_s: extra seconds before a hang is detected from outside, for a backend that ends such calls itself.
        priority_levels: number of levels; 1 is the highest.
        default_priority_level: of requests without a level, or with an unknown one.
    """

    max_batch_size: int
    inline_below_s: float
    max_queue_delay_s: float = 0.0
    allowed_batch_sizes: tuple[int, ...] = ()
    length_buckets: tuple[int, ...] = ()
    max_execution_s: float | None = None
    grace_s: float = 0.0
    priority_levels: int = 1
    default_priority_level: int = 1

    def seconds_allowed(self, estimate_s: float) -> float:
        """Seconds after which a batch estimated to take ``estimate_s`` counts as hung."""
        if self.max_execution_s is None:
            return max(HANGS_AFTER_S, HANGS_AFTER_TIMES * estimate_s)
        return self.max_execution_s

    def most_seconds_allowed(self, curve: LatencyCurve) -> float:
        """``seconds_allowed`` of the largest batch."""
        return self.seconds_allowed(curve.estimate(self.max_batch_size, curve.lengths[-1]))

    def bucket(self, length: int) -> int:
        """The length bucket of a text; texts in the same bucket may share a batch."""
        return bisect_left(self.length_buckets, length)

    def level(self, priority: int) -> int:
        """The level of a request's priority. Source: Triton, schedule policy extension."""
        return priority if 1 <= priority <= self.priority_levels else self.default_priority_level


def resolve(policy: BatchingPolicy, spec: ModelSpec, curve: LatencyCurve, *, inline_below_s: float) -> BatchRules:
    """The rules of a version.

    Args:
        policy: of serving.json; settings it leaves open are derived from ``curve``.
        spec: contains whether the instances are texts.
        curve: measured up to the largest possible batch.
        inline_below_s: see ``BatchRules``.

    Raises:
        VersionRefused: length buckets for a model without texts.
    """
    max_batch_size = policy.max_batch_size or worthwhile_batch_size(curve, inline_below_s=inline_below_s)
    texts = isinstance(spec.preprocessing, TextPreprocessing)
    buckets = policy.length_buckets
    if buckets and not texts:
        raise VersionRefused(f"length_buckets is {list(buckets)}, but model {spec.name!r} takes no texts")
    if buckets is None:
        buckets = worthwhile_buckets(curve, max_batch_size) if texts else ()
    limit_ms = policy.max_execution_ms
    return BatchRules(
        max_batch_size=max_batch_size,
        inline_below_s=inline_below_s,
        max_queue_delay_s=policy.max_queue_delay_us / 1e6,
        allowed_batch_sizes=policy.allowed_batch_sizes,
        length_buckets=buckets,
        max_execution_s=None if limit_ms is None else limit_ms / 1e3 or math.inf,
        priority_levels=policy.priority_levels,
        default_priority_level=policy.default_priority_level,
    )


def worthwhile_batch_size(curve: LatencyCurve, *, inline_below_s: float) -> int:
    """The smallest measured size from which on larger batches make a row cheaper by less than ``WORTH``.

    With several lengths the middle one decides, since few texts are as long as the longest. Their batches are rarely
    full, because only texts of similar length share one.

    Args:
        curve: of the version.
        inline_below_s: see ``BatchRules``.
    """
    length = curve.lengths[len(curve.lengths) // 2]
    calls = [curve.estimate(size, length) for size in curve.batch_sizes]
    if len(curve.lengths) > 1:
        around = [BATCH_OVERHEAD_S] * len(calls)
    else:
        around = [FULL_OVERHEAD_S + (0.0 if call < inline_below_s else THREAD_OVERHEAD_S) for call in calls]
    costs = [(call + more) / size for call, more, size in zip(calls, around, curve.batch_sizes, strict=True)]
    return next(size for size, cost in zip(curve.batch_sizes, costs, strict=True) if cost * (1 - WORTH) <= min(costs))


def worthwhile_buckets(curve: LatencyCurve, max_batch_size: int) -> tuple[int, ...]:
    """Length buckets with the ratio at which the curve predicts the shortest time for a full queue.

    Wide buckets fill batches, narrow ones waste less on padding; which matters more depends on the model and the
    device. The queue is assumed to contain ``WAITING`` texts of evenly spread lengths.
    """
    longest = curve.lengths[-1]
    return min(
        (bucket_limits(ratio, longest) for ratio in RATIOS),
        key=lambda limits: _seconds_for_all(curve, limits, max_batch_size),
    )


def bucket_limits(ratio: float, longest: int) -> tuple[int, ...]:
    """Lengths from ``SHORTEST_BUCKET`` to ``longest``, each about ``ratio`` times the previous one."""
    limits = [float(longest)]
    while limits[-1] / ratio >= SHORTEST_BUCKET:
        limits.append(limits[-1] / ratio)
    return tuple(sorted({round(limit) for limit in limits}))


def _seconds_for_all(curve: LatencyCurve, limits: tuple[int, ...], max_batch_size: int) -> float:
    """Seconds to answer ``WAITING`` texts of evenly spread lengths, bucket by bucket."""
    seconds, shorter = 0.0, 0
    for limit in limits:
        rows = WAITING * (limit - shorter) / limits[-1]
        size = min(max_batch_size, max(1, round(rows)))
        seconds += (curve.estimate(size, limit) + BATCH_OVERHEAD_S) * rows / size
        shorter = limit
    return seconds
