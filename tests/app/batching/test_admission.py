"""Who may join the queue, when a deadline is out of reach, and what Retry-After says."""

import asyncio

import pytest

from app.batching.admission import Admission
from app.errors import DeadlineOutOfReach, Draining, QueueFull
from tests.support.fakes import make_work

NOW = 100.0


@pytest.fixture
def entry():
    loop = asyncio.new_event_loop()

    def make(*, cost_s=0.1, **options):
        work = make_work(loop, 1, now=NOW, **options)
        work.cost_s = cost_s
        return work

    yield make
    loop.close()


def admission():
    return Admission(max_queue_rows=100, max_queue_bytes=10_000, levels=3)


def test_a_deadline_that_the_backlog_does_not_allow_is_refused_with_the_time_to_come_back(entry):
    queue = admission()
    for _ in range(40):
        queue.admit([entry()], running_s=0.0, now=NOW)
    with pytest.raises(DeadlineOutOfReach) as refused:
        queue.admit([entry(timeout_s=2)], running_s=0.5, now=NOW)
    assert refused.value.message == (
        "the answer would take about 5060.0 ms, 40 instances wait; the timeout leaves 2000.0 ms; try again"
    )
    assert refused.value.retry_after_s == 5
    queue.admit([entry(timeout_s=5.2)], running_s=0.5, now=NOW)
    assert queue.rows == 41


def test_only_what_goes_first_counts_as_ahead(entry):
    queue = admission()
    for _ in range(40):
        queue.admit([entry(level=3)], running_s=0.0, now=NOW)
    queue.admit([entry(level=1, timeout_s=0.2)], running_s=0.0, now=NOW)
    with pytest.raises(DeadlineOutOfReach):
        queue.admit([entry(level=3, timeout_s=2)], running_s=0.0, now=NOW)


def test_an_idle_backend_takes_any_request_so_that_a_wrong_estimate_is_corrected(entry):
    queue = admission()
    queue.admit([entry(cost_s=60, timeout_s=1)], running_s=None, now=NOW)
    with pytest.raises(DeadlineOutOfReach):
        queue.admit([entry(cost_s=0.1, timeout_s=1)], running_s=None, now=NOW)


def test_what_left_the_queue_no_longer_counts(entry):
    queue = admission()
    works = [entry(cost_s=0.1 * i, level=1 + i % 3, timeout_s=1000) for i in range(30)]
    for work in works:
        queue.admit([work], running_s=0.0, now=NOW)
    for work in works:
        queue.release(work)
    assert (queue.rows, queue.nbytes, queue.seconds) == (0, 0, [0.0, 0.0, 0.0])


def test_before_the_body_is_read_a_full_queue_already_refuses(entry):
    queue = admission()
    for _ in range(100):
        queue.admit([entry(timeout_s=20)], running_s=0.0, now=NOW)
    with pytest.raises(QueueFull, match="100 instances") as refused:
        queue.check_open()
    assert refused.value.retry_after_s == 10


def test_nothing_joins_while_draining(entry):
    queue = admission()
    queue.draining = True
    for call in (queue.check_open, lambda: queue.admit([entry()], running_s=None, now=NOW)):
        with pytest.raises(Draining):
            call()


def test_more_seconds_of_waiting_than_allowed_are_refused_whatever_the_timeout(entry):
    queue = Admission(max_queue_rows=100, max_queue_bytes=10_000, levels=3, max_queue_s=1.0)
    for _ in range(11):
        queue.admit([entry(timeout_s=1000)], running_s=0.0, now=NOW)
    message = "11 instances wait and take about 1100 ms, more than max_queue_s=1; try again"
    with pytest.raises(QueueFull) as refused:
        queue.admit([entry(timeout_s=1000)], running_s=0.0, now=NOW)
    assert refused.value.message == message
    with pytest.raises(QueueFull) as early:
        queue.check_open(level=3, running_s=0.0)
    assert early.value.message == message


def test_a_deadline_out_of_reach_is_known_before_anything_is_read(entry):
    queue = admission()
    for _ in range(10):
        queue.admit([entry()], running_s=0.0, now=NOW)
    queue.check_open(running_s=0.0, left_s=3.0, level=3)
    with pytest.raises(DeadlineOutOfReach):
        queue.check_open(running_s=0.0, left_s=1.0, level=3)


def test_estimates_follow_the_pace_that_full_batches_had_and_forget_it(entry):
    queue = admission()
    for _ in range(10):
        queue.admit([entry()], running_s=0.0, now=NOW)
    queue.check_open(level=3, running_s=0.0, left_s=1.5)
    for _ in range(100):
        queue.observe_pace(2.0)
    with pytest.raises(DeadlineOutOfReach, match="take about 2200"):
        queue.check_open(level=3, running_s=0.0, left_s=1.5)
    for _ in range(100):
        queue.observe_pace(1.0)
    queue.check_open(level=3, running_s=0.0, left_s=1.5)


def test_one_batch_that_was_interrupted_for_long_hardly_changes_the_pace():
    queue = admission()
    queue.observe_pace(1e6)
    assert queue.pace < 2


def test_an_answer_is_not_there_before_its_whole_batch(entry):
    queue = admission()
    queue.batch_s = 0.5
    for _ in range(10):
        queue.admit([entry()], running_s=0.0, now=NOW)
    with pytest.raises(DeadlineOutOfReach, match=r"take about 1650\.0 ms"):
        queue.admit([entry(timeout_s=1.6)], running_s=0.0, now=NOW)


def test_who_decodes_counts_as_one_that_waits(entry):
    queue = Admission(max_queue_rows=2, max_queue_bytes=10_000)
    refused = pytest.raises(QueueFull, match=r"2 instances \(0 bytes\) wait already")
    with queue.decoding_one(), queue.decoding_one(), refused:
        queue.check_open()
    queue.check_open()
