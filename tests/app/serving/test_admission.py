"""Who may join the queue, when a deadline is out of reach, and what Retry-After says."""

import asyncio

import pytest

from app.errors import DeadlineOutOfReach, Draining, QueueFull
from app.serving.admission import Admission
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
        "the answer would take about 4600.0 ms, 40 instances wait; the timeout leaves 2000.0 ms; try again"
    )
    assert refused.value.retry_after_s == 5
    queue.admit([entry(timeout_s=4.7)], running_s=0.5, now=NOW)
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
        queue.admit([entry()], running_s=0.0, now=NOW)
    with pytest.raises(QueueFull, match="100 instances") as refused:
        queue.check_open()
    assert refused.value.retry_after_s == 10


def test_nothing_joins_while_draining(entry):
    queue = admission()
    queue.draining = True
    for call in (queue.check_open, lambda: queue.admit([entry()], running_s=None, now=NOW)):
        with pytest.raises(Draining):
            call()
