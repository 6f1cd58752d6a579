"""When a canary is halted: each limit has its own window."""

from app.repository.rollout_policy import RollbackPolicy, RolloutPolicy
from app.rollout.canary_limits import WINDOW, Limits
from app.rollout.comparison import Comparison

POLICY = RolloutPolicy(rollback=RollbackPolicy(max_error_rate=0.05, max_disagreement=0.1, min_requests=10))


def judged(*seen):
    limits = Limits()
    return [limits.passed(POLICY, each) for each in seen]


def test_large_requests_that_succeed_do_not_hide_small_ones_that_fail():
    failed = Comparison(copies=1, copy_errors=1)
    large = Comparison(copies=1, rows=1_000, agreed=1_000)
    *before, last = judged(*[failed, large] * 5)
    assert before == [None] * 9
    assert last == "5 of 10 requests failed, more than max_error_rate 0.05 allows"


def test_below_the_minimum_number_of_requests_there_is_no_verdict():
    assert judged(*[Comparison(requests=1, errors=1)] * 9) == [None] * 9
    assert judged(Comparison(copies=1, rows=9, agreed=0)) == [None]


def test_a_canary_that_turns_bad_late_is_noticed_within_a_window():
    good, bad = Comparison(copies=1, rows=1, agreed=1), Comparison(copies=1, rows=1)
    reasons = judged(*[good] * (WINDOW * 10), *[bad] * 10)
    assert reasons[:-1] == [None] * (len(reasons) - 1)
    assert (
        reasons[-1]
        == "10 of 10 instances were answered otherwise than by stable, more than max_disagreement 0.1 allows"
    )


def test_exactly_at_the_limit_a_canary_continues():
    assert judged(Comparison(requests=100, errors=5)) == [None]
    assert judged(Comparison(requests=100, errors=6)) != [None]
