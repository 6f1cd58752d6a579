"""Pure policy: which batching settings to measure, and which of them to choose. Runs nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.runtime.warmup import batch_sizes_up_to

# Microseconds that an idle backend waits for more work: zero, and two small values.
DELAYS_US = (0, 200, 1000)
# Throughputs that differ by less than this share count as equal, and the simpler setting wins.
NEAR = 0.03
# Settings this close to the best are measured again, because the best of many is partly the luckiest.
CLOSE = 0.15
# Repeats that spread further than this show that other programs ran on the machine.
QUIET = 0.10


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The tuned keys of ``batching`` in serving.json; see ``app.repository.batching_policy.BatchingPolicy``.

    Attributes:
        max_batch_size: most instances in one backend call.
        max_queue_delay_us: age in microseconds that the oldest instance may reach while an idle backend waits for more.
        length_buckets: increasing token counts; empty lets all texts share batches.
    """

    max_batch_size: int
    max_queue_delay_us: int = 0
    length_buckets: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """The measured throughput and latency of one setting.

    Attributes:
        setting: the measured setting.
        instances_per_s: answered instances per second.
        p50_ms, p99_ms: milliseconds from request to answer.
        spread: distance between the quartiles of the repeats' instances per second, as a share of their median.
    """

    setting: Setting
    instances_per_s: float
    p50_ms: float
    p99_ms: float
    spread: float = 0.0


def largest_size(hint: int, allowed_batch_sizes: Sequence[int] = ()) -> int:
    """The largest batch to measure: twice the hint, or the last size that serving.json allows."""
    return allowed_batch_sizes[-1] if allowed_batch_sizes else 2 * hint


def candidates(
    *,
    hint: int,
    now: Setting,
    allowed_batch_sizes: Sequence[int] = (),
    buckets_for: Callable[[int], tuple[int, ...]] | None = None,
) -> list[Setting]:
    """The settings to measure, each once.

    Args:
        hint: ``max_batch_size`` of model.json; sizes are the powers of two up to it, the hint, and twice the hint.
        now: the current setting; it is measured too, for comparison.
        allowed_batch_sizes: of serving.json. They must end with ``max_batch_size``, so if they are set only the delay
            and the buckets vary.
        buckets_for: length buckets by batch size; None for models without texts.

    Returns:
        Settings by increasing size, then delay; ``now`` is last if it is not one of the others.
    """
    largest = largest_size(hint, allowed_batch_sizes)
    sizes = (largest,) if allowed_batch_sizes else (*batch_sizes_up_to(hint), largest)
    settings: list[Setting] = []
    for size in sizes:
        # In a batch of one, neither delay nor buckets matter: it waits for no more work and contains no other row.
        buckets = [()] if buckets_for is None or size == 1 else [(), buckets_for(size)]
        delays = DELAYS_US[:1] if size == 1 else DELAYS_US
        settings += [
            Setting(max_batch_size=size, max_queue_delay_us=delay, length_buckets=limits)
            for limits in buckets
            for delay in delays
        ]
    return list(dict.fromkeys([*settings, now]))


def finalists(measurements: Sequence[Measurement], *, p99_ms: float) -> list[Setting]:
    """The settings within the latency limit and within ``CLOSE`` of the best of those; empty if none is within it."""
    meeting = [each for each in measurements if each.p99_ms <= p99_ms]
    enough = (1 - CLOSE) * max((each.instances_per_s for each in meeting), default=0.0)
    return [each.setting for each in meeting if each.instances_per_s >= enough]


def choose(measurements: Sequence[Measurement], *, p99_ms: float) -> Measurement | None:
    """The setting to write to serving.json.

    Args:
        measurements: at least one.
        p99_ms: largest p99 that is acceptable.

    Returns:
        Of the settings within the limit and within ``NEAR`` of the most instances per second, the simplest: the
        shortest delay, then the smallest batch, then no buckets. None if no setting is within the limit.
    """
    meeting = [each for each in measurements if each.p99_ms <= p99_ms]
    if not meeting:
        return None
    enough = (1 - NEAR) * max(each.instances_per_s for each in meeting)
    return min((each for each in meeting if each.instances_per_s >= enough), key=_complexity)


def _complexity(measurement: Measurement) -> tuple[int, int, int]:
    setting = measurement.setting
    return setting.max_queue_delay_us, setting.max_batch_size, len(setting.length_buckets)
