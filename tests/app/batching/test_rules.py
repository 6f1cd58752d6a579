"""Batching settings without a value in serving.json, derived from artificial latency curves."""

from functools import partial
from itertools import pairwise
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.batching import rules as batching_rules
from app.batching.rules import (
    BATCH_OVERHEAD_S,
    FULL_OVERHEAD_S,
    THREAD_OVERHEAD_S,
    BatchRules,
    bucket_limits,
    resolve,
    worthwhile_buckets,
)
from app.contract.model_spec import ModelSpec
from app.errors import VersionRefused
from app.repository.batching_policy import BatchingPolicy
from app.runtime.warmup import LatencyCurve
from tests.support.tiny_models import write_brightness_model, write_words_model

SIZES = (1, 2, 4, 8, 16, 32)
# On the event loop, however long a batch takes.
worthwhile_batch_size = partial(batching_rules.worthwhile_batch_size, inline_below_s=inf)


def sequence_curve(call_s, step_s, row_step_s):
    """The curve of a recurrent network: time per call, per step, and per row and step."""
    lengths = (16, 64, 256)
    seconds = [[call_s + length * (step_s + rows * row_step_s) for rows in SIZES] for length in lengths]
    return LatencyCurve(SIZES, seconds, lengths=lengths)


def test_the_batch_is_as_large_as_pays():
    flat = LatencyCurve(SIZES, [[10.0 + 0.01 * rows for rows in SIZES]])
    assert worthwhile_batch_size(flat) == 32
    linear = LatencyCurve(SIZES, [[1.0 * rows for rows in SIZES]])
    assert worthwhile_batch_size(linear) == 1
    until_eight = LatencyCurve(SIZES, [[max(8.0, 1.0 * rows) for rows in SIZES]])
    assert worthwhile_batch_size(until_eight) == 8


def test_of_several_lengths_the_middle_one_decides_which_batch_pays():
    flat, linear = [1.0] * 6, [1.0 * rows for rows in SIZES]
    seconds = [linear, linear, flat, linear]
    assert worthwhile_batch_size(LatencyCurve(SIZES, seconds, lengths=(8, 16, 32, 64))) == 32
    assert worthwhile_batch_size(LatencyCurve(SIZES, [flat, linear, flat], lengths=(8, 16, 32))) == 1


def test_the_time_of_a_batch_outside_its_call_counts_as_well():
    cheap = LatencyCurve(SIZES, [[1e-9 * rows for rows in SIZES]])  # negligible next to the overhead
    assert worthwhile_batch_size(cheap) == 32


def test_a_batch_in_a_thread_costs_more_so_that_it_pays_to_have_fewer_of_them():
    in_thread = partial(batching_rules.worthwhile_batch_size, inline_below_s=0)
    linear = [4 * THREAD_OVERHEAD_S * rows for rows in SIZES]
    curve = LatencyCurve(SIZES, [linear])
    assert worthwhile_batch_size(curve) == 4
    assert in_thread(curve) == 8
    texts = LatencyCurve(SIZES, [linear] * 3, lengths=(8, 16, 32))
    assert in_thread(texts) == worthwhile_batch_size(texts)


def test_the_smallest_size_within_a_twentieth_of_the_best_is_taken():
    # Seconds for a row, without the overhead of a batch: 1 of all but the first, which is just within, or just not.
    for first, taken in ((1.0 / 0.95 - 1e-6, 1), (1.0 / 0.95 + 1e-3, 2)):
        curve = LatencyCurve(SIZES, [[first - FULL_OVERHEAD_S, *(size - FULL_OVERHEAD_S for size in SIZES[1:])]])
        assert worthwhile_batch_size(curve) == taken


def test_narrow_buckets_where_padding_is_dear_and_wide_ones_where_calls_are():
    dear_padding = worthwhile_buckets(sequence_curve(1e-6, 1e-8, 1e-6), 32)
    dear_calls = worthwhile_buckets(sequence_curve(1e-3, 1e-6, 1e-9), 32)
    assert len(dear_padding) > 2 * len(dear_calls)
    assert dear_padding[-1] == dear_calls[-1] == 256


@given(
    call_s=st.floats(1e-6, 1e-2),
    step_s=st.floats(1e-9, 1e-5),
    row_step_s=st.floats(1e-9, 1e-5),
    size=st.sampled_from(SIZES),
)
def test_the_buckets_are_those_at_which_32_texts_of_evenly_spread_lengths_take_the_least_time(
    call_s, step_s, row_step_s, size
):
    curve = sequence_curve(call_s, step_s, row_step_s)

    def seconds(limits):
        total = 0.0
        for shorter, limit in pairwise((0, *limits)):
            texts = 32 * (limit - shorter) / 256
            batch = min(size, max(1, round(texts)))
            total += (curve.estimate(batch, limit) + BATCH_OVERHEAD_S) * texts / batch
        return total

    choices = {bucket_limits(ratio, 256) for ratio in (1.19, 1.41, 2.0, 4.0)}
    chosen = worthwhile_buckets(curve, size)
    assert chosen in choices
    assert seconds(chosen) == pytest.approx(min(map(seconds, choices)))


def test_the_shortest_bucket_may_have_eight_steps_and_no_fewer():
    assert bucket_limits(2.0, 16) == (8, 16)
    assert bucket_limits(2.0, 15) == (15,)


@pytest.mark.parametrize("ratio", [1.19, 1.41, 2.0, 4.0])
@pytest.mark.parametrize("longest", [1, 2, 7, 16, 250])
def test_bucket_limits_increase_to_the_longest(ratio, longest):
    limits = bucket_limits(ratio, longest)
    assert list(limits) == sorted(set(limits))
    assert limits[-1] == longest
    assert all(longer / shorter <= ratio + 0.6 for shorter, longer in pairwise(limits))


def test_rules_in_serving_json_are_used(text_spec):
    policy = BatchingPolicy(
        max_batch_size=16,
        allowed_batch_sizes=(4, 16),
        length_buckets=(10, 20),
        max_queue_delay_us=500,
        priority_levels=5,
        default_priority_level=4,
    )
    rules = resolve(policy, text_spec, sequence_curve(1e-6, 1e-8, 1e-6), inline_below_s=1e-5)
    want = BatchRules(
        max_batch_size=16,
        inline_below_s=1e-5,
        max_queue_delay_s=5e-4,
        allowed_batch_sizes=(4, 16),
        length_buckets=(10, 20),
        priority_levels=5,
        default_priority_level=4,
    )
    assert rules == want


def test_an_empty_list_of_buckets_lets_all_lengths_share(text_spec):
    rules = resolve(BatchingPolicy(length_buckets=()), text_spec, sequence_curve(1, 1, 1), inline_below_s=0)
    assert rules.length_buckets == ()


@pytest.mark.parametrize(("priority", "level"), [(0, 2), (1, 1), (3, 3), (4, 2), (2**60, 2)])
def test_a_priority_that_is_not_a_level_takes_the_default(priority, level):
    rules = BatchRules(max_batch_size=1, inline_below_s=0, priority_levels=3, default_priority_level=2)
    assert rules.level(priority) == level


@pytest.fixture
def text_spec(tmp_path):
    return ModelSpec.read(write_words_model(tmp_path))


@pytest.mark.parametrize(
    ("stated_ms", "limit_s", "allowed_s"), [(None, None, 30.0), (0, inf, inf), (300, 0.3, 0.3), (1500, 1.5, 1.5)]
)
def test_how_long_a_batch_may_take(text_spec, stated_ms, limit_s, allowed_s):
    policy = BatchingPolicy(max_execution_ms=stated_ms, length_buckets=())
    rules = resolve(policy, text_spec, sequence_curve(1e-6, 1e-8, 1e-6), inline_below_s=0.0)
    assert rules.max_execution_s == limit_s
    assert rules.seconds_allowed(0.001) == allowed_s


def test_the_longest_time_is_that_of_the_largest_batch_at_the_greatest_length(text_spec):
    curve = sequence_curve(0.0, 0.01, 0.001)  # 32 rows of 256 steps take 10.752 s
    rules = resolve(BatchingPolicy(max_batch_size=32, length_buckets=()), text_spec, curve, inline_below_s=0.0)
    assert rules.most_seconds_allowed(curve) == pytest.approx(1075.2)


def test_rules_that_are_not_stated_come_from_the_curve(text_spec):
    curve = sequence_curve(1e-3, 1e-6, 1e-9)
    rules = resolve(BatchingPolicy(), text_spec, curve, inline_below_s=0.0)
    assert rules.max_batch_size == worthwhile_batch_size(curve)
    assert rules.length_buckets == worthwhile_buckets(curve, rules.max_batch_size) != ()


def test_length_buckets_are_refused_for_a_model_that_takes_no_texts(tmp_path):
    spec = ModelSpec.read(write_brightness_model(tmp_path))
    with pytest.raises(VersionRefused) as refused:
        resolve(BatchingPolicy(length_buckets=(8, 16)), spec, LatencyCurve((1,), [(1.0,)]), inline_below_s=0.0)
    assert refused.value.message == "length_buckets is [8, 16], but model 'brightness' takes no texts"
