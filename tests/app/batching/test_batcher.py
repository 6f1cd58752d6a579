"""Content of batches, answers, and their times."""

import asyncio
import threading

import numpy as np
import pytest

from app.errors import (
    BackendFailed,
    BackendHung,
    DeadlineExceeded,
    DeadlineOutOfReach,
    Draining,
    ModelNotReady,
    QueueFull,
    TooLarge,
)
from tests.support.fakes import FakeBackend, FakeClock, Observed, answer, make_batcher, make_work, turns, until


def run(scenario, **options):
    """Run ``scenario(batcher, work, backend, observed, clock)`` on an event loop."""
    backend = FakeBackend(poison=options.pop("poison", None), failure=options.pop("failure", BackendFailed))
    clock, observed = FakeClock(), Observed()

    async def main():
        batcher = make_batcher(backend, clock=clock, observed=observed, **options)
        loop = asyncio.get_running_loop()

        def work(*values, **kwargs):
            return make_work(loop, *values, now=clock.now, **kwargs)

        try:
            await scenario(batcher, work, backend, observed, clock)
        finally:
            backend.may_run.set()
            await asyncio.wait_for(batcher.drained(), 10)
            batcher.stop()
            batcher.close()
            assert backend.closed

    asyncio.run(main())
    return backend, observed


@pytest.mark.parametrize("inline", [True, False])
def test_work_submitted_together_shares_a_batch_and_gets_its_own_rows(inline):
    async def scenario(batcher, work, backend, observed, clock):
        first, second = work(1, 2), work(3)
        batcher.submit([first])
        batcher.submit([second])
        assert await answer(first) == [2, 4]
        assert await answer(second) == [6]

    backend, observed = run(scenario, inline=inline)
    assert backend.batches == [[1, 2, 3]]
    assert observed.batches == [(3, "idle")]
    assert observed.queued == (0, 0)


def test_requests_that_arrive_while_the_backend_is_busy_become_the_next_batch():
    async def scenario(batcher, work, backend, observed, clock):
        backend.may_run.clear()
        works = [work(1)]
        batcher.submit(works)
        await until(lambda: backend.begun)
        works += [work(2), work(3), work(4)]
        for later in works[1:]:
            batcher.submit([later])
        backend.may_run.set()
        assert [await answer(each) for each in works] == [[2], [4], [6], [8]]

    backend, _ = run(scenario)
    assert backend.batches == [[1], [2, 3, 4]]


def test_a_batch_never_exceeds_its_size_and_never_overtakes_the_head():
    async def scenario(batcher, work, backend, observed, clock):
        works = [work(1, 2, 3), work(4, 5), work(6)]
        for each in works:
            batcher.submit([each])
        assert [await answer(each) for each in works] == [[2, 4, 6], [8, 10], [12]]

    backend, observed = run(scenario, max_batch_size=4)
    assert backend.batches == [[1, 2, 3], [4, 5, 6]]
    assert observed.batches == [(3, "full"), (3, "idle")]


def test_a_client_that_left_is_not_run_and_its_batch_mates_are():
    async def scenario(batcher, work, backend, observed, clock):
        gone, kept = work(1, 2), work(3)
        batcher.submit([gone])
        batcher.submit([kept])
        gone.future.cancel()
        assert await answer(kept) == [6]

    backend, observed = run(scenario)
    assert backend.batches == [[3]]
    assert observed.dropped == [(2, "cancelled")]


def test_work_past_its_deadline_is_refused_unrun():
    async def scenario(batcher, work, backend, observed, clock):
        late, kept = work(1, timeout_s=1), work(2)
        batcher.submit([late])
        batcher.submit([kept])
        clock.now += 2
        with pytest.raises(DeadlineExceeded):
            await late.future
        assert await answer(kept) == [4]

    backend, observed = run(scenario)
    assert backend.batches == [[2]]
    assert observed.dropped == [(1, "expired")]


def test_one_bad_row_fails_alone():
    async def scenario(batcher, work, backend, observed, clock):
        works = [work(value) for value in (1, 2, 3, 4)]
        for each in works:
            batcher.submit([each])
        with pytest.raises(BackendFailed, match="poison"):
            await works[2].future
        assert [await answer(works[i]) for i in (0, 1, 3)] == [[2], [4], [8]]

    run(scenario, poison=3)


def test_a_batch_that_hung_is_not_run_again_in_halves():
    async def scenario(batcher, work, backend, observed, clock):
        works = [work(value) for value in (1, 2, 3, 4)]
        for each in works:
            batcher.submit([each])
        for each in works:
            with pytest.raises(BackendHung):
                await each.future

    backend, _ = run(scenario, poison=3, failure=BackendHung)
    assert backend.batches == [[1, 2, 3, 4]]


def test_a_client_that_leaves_while_its_batch_runs_does_not_affect_others():
    async def scenario(batcher, work, backend, observed, clock):
        backend.may_run.clear()
        gone, kept = work(1), work(2)
        batcher.submit([gone])
        batcher.submit([kept])
        await until(lambda: backend.begun)
        gone.future.cancel()
        backend.may_run.set()
        assert await answer(kept) == [4]

    run(scenario)


def test_a_full_queue_refuses_with_a_retry_after_computed_from_the_curve():
    async def scenario(batcher, work, backend, observed, clock):
        backend.may_run.clear()
        running = work(0)
        batcher.submit([running])
        await until(lambda: backend.begun)
        waiting = [work(*range(4)) for _ in range(125)]
        batcher.submit(waiting)
        with pytest.raises(QueueFull, match="500 instances wait and 1 more exceed max_queue_rows=500") as refusal:
            batcher.submit([work(1)])
        assert refusal.value.retry_after_s == 5  # 500 rows at 10 ms each
        with pytest.raises(TooLarge):
            batcher.submit([work(*range(501))])
        backend.may_run.set()
        await asyncio.gather(*(each.future for each in waiting))
        batcher.submit([again := work(1)])
        assert await answer(again) == [2]

    run(scenario, rows=500)


def test_an_idle_backend_waits_for_company_only_until_the_delay_or_a_full_batch():
    async def scenario(batcher, work, backend, observed, clock):
        first = work(1)
        batcher.submit([first])
        await turns(5)
        assert observed.queued[0] == 1
        full = work(2, 3, 4)
        batcher.submit([full])
        assert await answer(full) == [4, 6, 8]
        alone = work(5)
        batcher.submit([alone])
        clock.now += 1
        assert await answer(alone) == [10]

    backend, observed = run(scenario, delay_s=0.1)
    assert backend.batches == [[1, 2, 3, 4], [5]]
    assert observed.batches == [(4, "full"), (1, "delay")]


def test_at_the_end_of_the_shutdown_time_waiting_and_running_work_is_refused():
    async def scenario(batcher, work, backend, observed, clock):
        backend.may_run.clear()
        running, waiting = work(1), work(2)
        batcher.submit([running])
        await until(lambda: backend.begun)
        batcher.submit([waiting])
        batcher.fail_unfinished()
        for refused in (running, waiting):
            with pytest.raises(Draining, match=r"^the service shut down before this request was answered$"):
                await refused.future
        assert observed.queued == (0, 0)

    run(scenario)


def test_a_backend_that_becomes_slow_does_not_block_the_event_loop_after_its_first_call():
    threads = []

    async def scenario(batcher, work, backend, observed, clock):
        run_batch = backend.run

        def slow(inputs):
            threads.append(threading.current_thread() is threading.main_thread())
            clock.now += 60  # estimated at 10 ms
            return run_batch(inputs)

        backend.run = slow
        for _ in range(3):
            batcher.submit([each := work(1, timeout_s=1000)])
            await answer(each)

    run(scenario, inline=True)
    assert threads == [True, False, False]


@pytest.mark.parametrize("inline", [True, False])
def test_many_clients_at_random_moments_all_get_their_own_answer(inline):
    generator = np.random.default_rng(5)

    async def client(batcher, work, values):
        await turns(generator.integers(0, 100))
        mine = work(*values)
        batcher.submit([mine])
        assert await answer(mine) == [2 * value for value in values]

    async def scenario(batcher, work, backend, observed, clock):
        sizes = generator.integers(1, 5, 200)
        await asyncio.gather(
            *(client(batcher, work, [float(1000 * i + j) for j in range(size)]) for i, size in enumerate(sizes))
        )

    _, observed = run(scenario, inline=inline, rows=10_000)
    assert all(rows <= 4 for rows, _ in observed.batches)


def test_a_batch_is_padded_with_rows_to_an_allowed_size_and_the_padding_is_dropped():
    async def scenario(batcher, work, backend, observed, clock):
        works = [work(1, 2), work(3)]
        for each in works:
            batcher.submit([each])
        assert [await answer(each) for each in works] == [[2, 4], [6]]

    backend, observed = run(scenario, allowed_batch_sizes=(2, 4))
    assert backend.batches == [[1, 2, 3, 3]]
    assert observed.batches == [(3, "idle")]
    assert observed.paddings == [0.25]


def test_a_delay_ends_in_time_for_the_deadline():
    async def scenario(batcher, work, backend, observed, clock):
        hurried = work(1, timeout_s=0.06)
        batcher.submit([hurried])
        await turns(5)
        assert observed.queued[0] == 1
        clock.now += 0.055
        assert await answer(hurried) == [2]

    _, observed = run(scenario, delay_s=60.0)
    assert observed.batches == [(1, "deadline")]


def test_a_request_that_cannot_meet_its_deadline_after_the_running_batch_is_refused_immediately():
    async def scenario(batcher, work, backend, observed, clock):
        backend.may_run.clear()
        running = work(1, 2, 3, 4)
        batcher.submit([running])
        await until(lambda: backend.begun)
        with pytest.raises(DeadlineOutOfReach, match=r"would take about 55\.0 ms"):
            batcher.submit([work(5, timeout_s=0.045)])
        patient = work(6, timeout_s=0.06)
        batcher.submit([patient])
        backend.may_run.set()
        assert await answer(patient) == [12]

    backend, _ = run(scenario)
    assert backend.batches == [[1, 2, 3, 4], [6]]


@pytest.mark.parametrize("inline", [True, False])
def test_when_our_own_code_fails_the_waiting_requests_fail_and_the_next_one_is_answered(inline, caplog):
    async def scenario(batcher, work, backend, observed, clock):
        def broken(**_):
            observed.batch_done = type(observed).batch_done.__get__(observed)
            raise RuntimeError("a bug of ours")

        observed.batch_done = broken
        first, second = work(1, 2, 3, 4), work(5)
        batcher.submit([first])
        batcher.submit([second])
        assert await answer(first) == [2, 4, 6, 8]
        with pytest.raises(BackendFailed, match="the batcher failed: a bug of ours"):
            await asyncio.wait_for(second.future, 10)
        batcher.submit([again := work(6)])
        assert await answer(again) == [12]

    run(scenario, inline=inline)
    assert "the batcher failed" in caplog.text


def test_a_version_that_stops_answers_with_the_reason_it_is_given():
    async def scenario(batcher, work, backend, observed, clock):
        backend.may_run.clear()
        running, waiting = work(1), work(2)
        batcher.submit([running])
        await until(lambda: backend.begun)
        batcher.submit([waiting])
        batcher.stop(ModelNotReady("the version is unloaded"))
        for refused in (running, waiting):
            with pytest.raises(ModelNotReady, match=r"^the version is unloaded$"):
                await refused.future

    run(scenario)


def test_before_a_body_is_read_only_waiting_and_running_work_counts():
    async def scenario(batcher, work, backend, observed, clock):
        batcher.check_open(left_s=0.0)  # nothing waits: an idle backend takes any request
        backend.may_run.clear()
        batcher.submit([work(*range(4))])
        await until(lambda: backend.begun)
        batcher.check_open(left_s=0.0)  # nothing waits
        batcher.submit([work(1, 2, 3, 4)])
        # 40 ms run, 40 ms wait, and its own batch takes 40 ms; a tenth more.
        batcher.check_open(level=2, left_s=0.133)
        with pytest.raises(DeadlineOutOfReach):
            batcher.check_open(level=2, left_s=0.131)
        batcher.check_open(left_s=0.089)  # no waiting work precedes level 1

    run(scenario)
