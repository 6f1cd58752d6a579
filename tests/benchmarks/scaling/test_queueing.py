"""The simulation of replicas, against what can be worked out by hand."""

from itertools import pairwise

import pytest

from benchmarks.scaling.capacity import need
from benchmarks.scaling.curve import Curve
from benchmarks.scaling.fleet import Fleet, Simulation
from benchmarks.scaling.queueing import answers, poisson, predict

ONE_BY_ONE = Curve((1,), (0.010,))
IN_BATCHES = Curve.of_rates({1: 100.0, 2: 160.0, 8: 400.0})


def test_between_measured_sizes_the_time_lies_on_a_line():
    assert IN_BATCHES(1) == pytest.approx(0.010)
    assert IN_BATCHES(2) == pytest.approx(0.0125)
    assert IN_BATCHES(5) == pytest.approx((0.0125 + 0.020) / 2)
    assert IN_BATCHES.capacity_per_s == pytest.approx(400)


def test_a_larger_turn_never_takes_less_time():
    noisy = Curve.of_rates({1: 100.0, 2: 300.0, 4: 350.0})
    assert noisy.seconds == tuple(sorted(noisy.seconds))


def test_a_free_replica_answers_at_once():
    assert answers([0.0, 1.0], ONE_BY_ONE) == pytest.approx([0.010, 1.010])


def test_what_arrives_during_a_turn_shares_the_next_one():
    ends = answers([0.0, 0.001, 0.002, 0.5], IN_BATCHES)
    assert ends == pytest.approx([0.010, 0.0225, 0.0225, 0.510])


def test_no_turn_is_larger_than_the_largest_measured_one():
    ends = answers([0.0] * 20, IN_BATCHES)
    assert ends == pytest.approx([0.020] * 8 + [0.040] * 8 + [0.040 + IN_BATCHES(4)] * 4)


def test_a_queue_of_poisson_arrivals_and_fixed_times_waits_as_pollaczek_and_khinchine_say():
    """Mean time in an M/D/1 queue: s + s r / (2 (1 - r)) with service time s and load r."""
    load, service_s = 0.7, 0.010
    due = poisson(load / service_s, 4_000, seed=3)
    mean = sum(end - at for end, at in zip(answers(due, ONE_BY_ONE), due, strict=True)) / len(due)
    assert mean == pytest.approx(service_s * (1 + load / (2 * (1 - load))), rel=0.02)


def test_the_gaps_have_the_mean_and_deviation_of_an_exponential_distribution():
    gaps = [b - a for a, b in pairwise(poisson(1_000, 100, seed=1))]
    mean = sum(gaps) / len(gaps)
    deviation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert (mean, deviation) == pytest.approx((0.001, 0.001), rel=0.02)


def test_above_the_capacity_the_rate_is_the_capacity_and_the_latency_grows():
    due = poisson(480, 20, seed=2)
    found = predict(due, IN_BATCHES, replicas=1, skipped=0)
    assert found.rate_per_s == pytest.approx(400, rel=0.03)
    assert found.p50_ms > 1_000
    assert predict(due, IN_BATCHES, replicas=2, skipped=0).p99_ms < 100


def constant(rate_per_s):
    return lambda now: rate_per_s


def fleet(**changes):
    return Fleet(**{"replicas": 4, "most": 4, "target": None, **changes})


def test_every_request_of_a_fleet_is_counted_once():
    seen = Simulation(fleet(), IN_BATCHES, constant(800), seconds=20, deaths=(5.0,), seed=4).run()
    total = len(seen.latencies_s) + len(seen.failed) + len(seen.refused)
    assert total == pytest.approx(800 * 20, rel=0.03)
    assert seen.failed


def test_after_a_death_requests_fail_only_until_it_is_noticed():
    seen = Simulation(fleet(notice_s=2.0), IN_BATCHES, constant(400), seconds=20, deaths=(5.0,), seed=5).run()
    assert min(seen.failed) >= 5.0
    assert max(seen.failed) <= 7.0
    assert [size for _, size in seen.sizes] == [4, 3, 4]


def test_a_replacement_arrives_after_the_time_of_a_start():
    seen = Simulation(fleet(start_s=6.0), IN_BATCHES, constant(400), seconds=20, deaths=(5.0,), seed=5).run()
    assert (11.0, 5) in [(round(when, 6), size) for when, size in seen.sizes]


def test_an_overloaded_fleet_refuses_what_its_queues_do_not_hold():
    seen = Simulation(fleet(queue=50), IN_BATCHES, constant(4_000), seconds=10, seed=6).run()
    assert len(seen.latencies_s) == pytest.approx(1_600 * 10, rel=0.05)
    assert len(seen.refused) == pytest.approx(2_400 * 10, rel=0.05)


def test_an_autoscaler_ends_the_refusals():
    grown = fleet(most=20, target=10.0, queue=50, start_s=5.0, look_every_s=2.0)
    seen = Simulation(grown, IN_BATCHES, constant(4_000), seconds=60, seed=7).run()
    assert seen.refused
    assert max(seen.refused) < 30
    assert 10 <= seen.sizes[-1][1] <= 20


@pytest.mark.parametrize(("per_minute", "nodes"), [(600, 2), (60_000, 18), (6_000_000, 1_668)])
def test_nodes_are_used_by_six_tenths_and_one_is_spare(per_minute, nodes):
    found = need(per_minute, node_per_s=100, bytes_per_request=1_000)
    assert found.nodes == nodes
    assert found.gbit_per_s == pytest.approx(per_minute / 60 * 8_000 / 1e9)
