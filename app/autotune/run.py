"""Measures one model from its loaded state: the order of the steps."""

from collections.abc import Callable
from dataclasses import dataclass
from shlex import quote

from app.autotune.choice import Measurement, Setting, candidates, finalists, largest_size
from app.autotune.measure import REPEATS, BatchingBenchmark, Load
from app.batching.rules import worthwhile_buckets
from app.contract.golden import Golden
from app.errors import VersionRefused
from app.lifecycle.loading.version_contract import VersionContract, possible_batch
from app.loaded import LoadedModel
from app.repository.places import Place
from app.repository.policy_file import read_policy
from app.runtime.warmup import measure_curve
from app.types import Clock

# Seconds for the latency curve, which determines the length buckets: more than at a start, because the choice stays.
CURVE_BUDGET_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """The measurements of one model.

    Attributes:
        now: the current setting of the service.
        measurements: one per setting.
    """

    now: Setting
    measurements: list[Measurement]


async def tune(
    model: LoadedModel,
    contract: VersionContract,
    place: Place,
    load: Load,
    *,
    p99_ms: float,
    clock: Clock,
    on_progress: Callable[[int, int], None],
) -> Tuning:
    """Measure the promising settings of a model, and measure those close to the best again.

    Args:
        model: loaded and idle.
        contract: of its version, with samples.
        place: of the model.
        load: clients and seconds per setting.
        p99_ms: largest p99 that is acceptable.
        clock: monotonic seconds.
        on_progress: called with the number of finished slices and of all slices.

    Raises:
        VersionRefused: serving.json cannot be read, the model cannot batch, or no inputs are known for it.
        BackendFailed: the runtime failed on a sample.
    """
    policy = read_policy(place.directory, place.stated).batching
    golden = _samples(contract, model.name)
    # Twice the hint is measured too.
    hint = max(1, min(model.spec.batching.max_batch_size, possible_batch(contract) // 2))
    allowed, rules = policy.allowed_batch_sizes, model.batcher.rules
    curve = measure_curve(  # blocks the event loop, on which nothing else runs
        model.batcher.backend,
        golden.inputs,
        max_batch_size=max(largest_size(hint, allowed), rules.max_batch_size),
        budget_s=CURVE_BUDGET_S,
        clock=clock,
        sequence=model.sequence,
    )

    def buckets_for(size: int) -> tuple[int, ...]:
        return worthwhile_buckets(curve, size)

    derived = model.sequence is not None and policy.length_buckets is None
    now = Setting(
        max_batch_size=rules.max_batch_size,
        max_queue_delay_us=policy.max_queue_delay_us,
        length_buckets=buckets_for(rules.max_batch_size) if derived else rules.length_buckets,
    )
    settings = candidates(
        hint=hint,
        now=now,
        allowed_batch_sizes=allowed,
        buckets_for=None if model.sequence is None else buckets_for,
    )
    bench = BatchingBenchmark(model, golden, load, curve=curve, clock=clock)
    done, total = 0, len(settings) * REPEATS

    def one_more() -> None:
        nonlocal done
        done += 1
        on_progress(done, total)

    measured = {each.setting: each for each in await bench.measure(settings, on_slice=one_more)}
    best = finalists(list(measured.values()), p99_ms=p99_ms)
    total += len(best) * REPEATS
    measured |= {each.setting: each for each in await bench.measure(best, on_slice=one_more)}
    return Tuning(now=now, measurements=list(measured.values()))


def _samples(contract: VersionContract, name: str) -> Golden:
    """Golden samples, or generated inputs, whose answers do not matter here."""
    if contract.alone:
        raise VersionRefused(f"model {name!r} has no batching to measure, it cannot batch: {contract.alone}")
    if contract.golden is not None:
        return contract.golden
    if contract.generated is None:
        raise VersionRefused(
            f"model {name!r} has no golden samples and runs with no generated inputs; `python -m app verify "
            f"{quote(name)} --samples FILE.npz` gives it some"
        )
    return Golden(inputs=contract.generated, outputs={}, tolerance={})
