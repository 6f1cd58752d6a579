"""Canaries are judged by the sums of the numbers that workers report."""

from dataclasses import asdict

import pytest

from app.repository.rollout_policy import CanaryPair, RollbackPolicy, RolloutPolicy
from app.rollout.across_workers import Canaries
from app.rollout.comparison import Comparison

PAIR = CanaryPair("m", 1, 2)
POLICY = RolloutPolicy(rollback=RollbackPolicy(max_error_rate=0.5, min_requests=10))
PASSED = "10 of 10 requests failed, more than max_error_rate 0.5 allows"


def reported(number, requests, *, errors=None, halted=False):
    seen = Comparison(requests=requests, errors=requests if errors is None else errors)
    return {"number": number, "metrics": {"rollouts": [[*PAIR, asdict(seen), halted]]}}


def reported_nothing(number):
    return {"number": number, "metrics": {"rollouts": []}}


def receive(canaries, worker, counts, policy=POLICY):
    return [canaries.passed(tried, policy, seen) for tried, seen in canaries.news(worker, counts)]


def test_a_limit_is_passed_by_the_sum_and_each_request_counts_once():
    canaries = Canaries()
    assert receive(canaries, 1, reported(1, 5)) == [None]
    assert receive(canaries, 1, reported(2, 5)) == []  # nothing new
    assert receive(canaries, 2, reported(1, 4)) == [None]
    assert receive(canaries, 2, reported(2, 5)) == [PASSED]


def test_late_counts_are_ignored():
    canaries = Canaries()
    assert receive(canaries, 1, reported(2, 9)) == [None]
    assert receive(canaries, 1, reported(1, 8)) == []
    assert receive(canaries, 1, reported(3, 10)) == [PASSED]


def test_counts_of_an_ended_worker_still_count():
    canaries = Canaries()
    assert receive(canaries, 1, reported(7, 4)) == [None]
    assert receive(canaries, 2, reported(1, 0)) == []
    canaries.ended(1)
    assert receive(canaries, 1, reported_nothing(1)) == []  # it loads its models
    assert receive(canaries, 1, reported(2, 6)) == [PASSED]


@pytest.mark.parametrize("first", [0, 1])
def test_a_canary_that_was_loaded_again_is_judged_from_zero(first):
    canaries = Canaries()
    assert receive(canaries, 1, reported(1, 9)) == [None]
    assert receive(canaries, 1, reported(2, first)) == [None] * first
    assert receive(canaries, 1, reported(3, 9)) == [None]
    assert receive(canaries, 1, reported(4, 10)) == [PASSED]


def test_a_canary_that_no_worker_tries_any_more_is_judged_from_zero_when_it_returns():
    canaries = Canaries()
    assert receive(canaries, 1, reported(1, 9)) == [None]
    assert receive(canaries, 2, reported(1, 0)) == []
    assert receive(canaries, 1, reported_nothing(2)) == []
    assert receive(canaries, 2, reported_nothing(2)) == []
    assert receive(canaries, 1, reported(3, 9)) == [None]
    assert receive(canaries, 2, reported(3, 1)) == [PASSED]


def test_a_halted_canary_is_not_judged_and_another_policy_starts_from_zero():
    canaries = Canaries()
    assert receive(canaries, 1, reported(1, 9)) == [None]
    assert receive(canaries, 1, reported(2, 99, halted=True)) == []
    assert receive(canaries, 1, reported(3, 100), POLICY.model_copy(update={"halted": "bad"})) == [None]
    other = RolloutPolicy(rollback=RollbackPolicy(max_error_rate=0.5, min_requests=2))
    assert receive(canaries, 1, reported(4, 101), other) == [None]
    assert receive(canaries, 1, reported(5, 102), other) != [None]
