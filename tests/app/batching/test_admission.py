"""Which requests may join the queue, when a deadline cannot be met, and the value of Retry-After."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.batching.admission import Admission
from app.errors import DeadlineExceeded, DeadlineOutOfReach, Draining, ModelNotReady, QueueFull, TooLarge
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


def test_a_deadline_that_the_backlog_does_not_allow_is_refused_with_retry_after(entry):
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


def test_only_work_that_runs_first_counts_as_ahead(entry):
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


def test_work_that_left_the_queue_does_not_count_any_more(entry):
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


@pytest.mark.parametrize(
    ("state", "error", "expected"),
    [
        ({"draining": True}, Draining, "the service is shutting down"),
        ({"instances": 0}, ModelNotReady, "every backend of the version hangs: a batch runs for longer than"),
    ],
)
def test_no_request_joins_the_queue_while_draining_or_while_every_backend_hangs(entry, state, error, expected):
    queue = admission()
    for name, value in state.items():
        setattr(queue, name, value)
    for call in (queue.check_open, lambda: queue.admit([entry()], running_s=None, now=NOW)):
        with pytest.raises(error) as refused:
            call()
        assert refused.value.message.startswith(expected)


def test_more_seconds_of_waiting_than_allowed_are_refused_with_any_timeout(entry):
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


def test_a_request_that_is_being_decoded_counts_as_waiting(entry):
    queue = Admission(max_queue_rows=2, max_queue_bytes=10_000)
    refused = pytest.raises(QueueFull, match=r"2 instances \(0 bytes\) wait already")
    with queue.decoding_one(), queue.decoding_one(), refused:
        queue.check_open()
    queue.check_open()


def sized(loop, *, rows, level, cost_s):
    """Work whose bytes differ from its rows."""
    work = make_work(loop, *range(rows), now=NOW, level=level, timeout_s=1e6)
    work.nbytes, work.cost_s = 7 * rows, cost_s
    return work


@settings(deadline=None)
@given(
    requests=st.lists(
        st.lists(st.tuples(st.integers(1, 9), st.integers(1, 8)), min_size=1, max_size=3).flatmap(
            lambda parts: st.tuples(st.just(parts), st.integers(1, 3))
        ),
        max_size=12,
    ),
    leave=st.randoms(use_true_random=False),
)
def test_rows_bytes_and_seconds_are_those_of_the_waiting_work_at_every_level(requests, leave):
    loop = asyncio.new_event_loop()
    queue = Admission(max_queue_rows=10_000, max_queue_bytes=100_000, levels=3)
    waiting = []
    try:
        for parts, level in requests:
            works = [sized(loop, rows=rows, level=level, cost_s=cost / 8) for rows, cost in parts]
            queue.admit(works, running_s=0.0, now=NOW)
            waiting += works
            if leave.random() < 0.5:
                turnover = queue.turnover
                queue.release(waiting.pop(leave.randrange(len(waiting))))
                assert queue.turnover > turnover
            assert queue.rows == sum(work.rows for work in waiting)
            assert queue.nbytes == sum(work.nbytes for work in waiting)
            # Eighths of a second have no rounding error.
            assert queue.seconds == [sum(work.cost_s for work in waiting if work.level == level) for level in (1, 2, 3)]
    finally:
        loop.close()


def full(loop, *, rows=0, nbytes=0, **limits):
    """A queue with this much waiting work."""
    queue = Admission(**{"max_queue_rows": 100, "max_queue_bytes": 100, **limits})
    if rows:
        work = make_work(loop, *range(rows), now=NOW, level=1, timeout_s=1e6)
        work.nbytes = nbytes
        queue.admit([work], running_s=0.0, now=NOW)
    return queue


@pytest.mark.parametrize(
    ("rows", "nbytes", "error", "expected"),
    [
        ((), (40, 60), None, ""),
        ((), (40, 61), TooLarge, "request holds 2 instances (101 bytes); at most 100 instances and 100 bytes fit the"),
        ((1, 30), (40, 30), None, ""),
        ((1, 30), (40, 31), QueueFull, "1 instances wait and 2 more exceed max_queue_rows=100 or max_queue_bytes=100"),
    ],
)
def test_the_bytes_of_all_works_of_a_request_fit_exactly_or_none_is_queued(rows, nbytes, error, expected):
    loop = asyncio.new_event_loop()
    queue = full(loop, rows=rows[0], nbytes=rows[1]) if rows else full(loop)
    before = (queue.rows, queue.nbytes, list(queue.seconds))
    works = [make_work(loop, 1, now=NOW, level=1, timeout_s=1e6) for _ in nbytes]
    for work, size in zip(works, nbytes, strict=True):
        work.nbytes = size
    if error is None:
        queue.admit(works, running_s=0.0, now=NOW)
        assert queue.nbytes == 100
    else:
        with pytest.raises(error) as refused:
            queue.admit(works, running_s=0.0, now=NOW)
        assert refused.value.message.startswith(expected)
        assert (queue.rows, queue.nbytes, queue.seconds) == before
    loop.close()


def test_a_queue_whose_bytes_are_used_up_refuses_before_the_body_is_read():
    loop = asyncio.new_event_loop()
    full(loop, rows=1, nbytes=99).check_open()
    queue = full(loop, rows=1, nbytes=100)
    queue.decoding = 2
    with pytest.raises(QueueFull, match=r"^3 instances \(100 bytes\) wait already; try again$"):
        queue.check_open()
    loop.close()


def test_running_work_and_work_of_higher_priority_are_ahead_before_the_body_is_read(entry):
    queue = admission()
    queue.admit([entry(level=1, cost_s=1.0)], running_s=0.0, now=NOW)
    queue.admit([entry(level=2, cost_s=4.0)], running_s=0.0, now=NOW)
    # Ahead at level 1: 1 s, at level 2: 5 s; a tenth more is allowed for.
    queue.check_open(level=1, left_s=1.2)
    for level, running_s, left_s in ((1, 0.5, 1.2), (2, 0.0, 5.4), (3, 0.0, 5.4)):
        with pytest.raises(DeadlineOutOfReach):
            queue.check_open(level=level, running_s=running_s, left_s=left_s)
    queue.check_open(level=2, running_s=0.0, left_s=5.6)
    queue.check_open(left_s=1.2)  # the level of the request is not known: only work that precedes every level counts


def test_several_instances_share_the_parts_of_a_request_and_the_backlog(entry):
    queue = Admission(max_queue_rows=100, max_queue_bytes=10_000, levels=3, instances=2)
    queue.admit([entry(cost_s=2.0, timeout_s=1000)], running_s=0.0, now=NOW)
    # 1 s of earlier work, and 2 s for the request in two parts: 2.2 s with the tenth.
    with pytest.raises(DeadlineOutOfReach):
        queue.admit([entry(cost_s=1.0, timeout_s=2.1), entry(cost_s=1.0, timeout_s=2.1)], running_s=0.0, now=NOW)
    queue.admit([entry(cost_s=1.0, timeout_s=2.3), entry(cost_s=1.0, timeout_s=2.3)], running_s=0.0, now=NOW)
    queue.decoding = 100
    with pytest.raises(QueueFull) as refused:
        queue.check_open()
    assert refused.value.retry_after_s == 2  # 4 s, by two


def test_exactly_as_long_as_is_allowed_is_allowed(entry):
    queue = Admission(max_queue_rows=100, max_queue_bytes=10_000, levels=3, max_queue_s=1.0)
    queue.admit([entry(cost_s=1.0, timeout_s=1000)], running_s=0.0, now=NOW)
    queue.check_open(level=3, running_s=0.0)
    queue.check_open(level=3, running_s=0.0, left_s=1.1 * 1.0)
    with pytest.raises(QueueFull) as refused:
        queue.check_open(level=3, running_s=1.5)
    assert refused.value.retry_after_s == 3  # 2.5 s, rounded up


def test_a_request_whose_timeout_has_passed_gets_504_and_no_advice_to_try_again(entry):
    queue = admission()
    queue.admit([entry(cost_s=1, timeout_s=1000)], running_s=None, now=NOW)
    with pytest.raises(DeadlineExceeded):
        queue.check_open(level=3, left_s=-0.1)


@pytest.mark.parametrize(("ahead_s", "retry_after_s"), [(0.2, 1), (1.0, 1), (1.0000001, 1), (1.00001, 2), (2.4, 3)])
def test_retry_after_is_rounded_up_from_microseconds_on_and_at_least_1(entry, ahead_s, retry_after_s):
    queue = admission()
    queue.admit([entry(cost_s=ahead_s, timeout_s=1000)], running_s=None, now=NOW)
    with pytest.raises(DeadlineOutOfReach) as refused:
        queue.check_open(level=3, left_s=1e-9)
    assert refused.value.retry_after_s == retry_after_s
