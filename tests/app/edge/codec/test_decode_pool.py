"""Jobs of the decode pool: deadline, memory and shutdown."""

import asyncio
import gc
import sys
import threading
import time
import weakref

import pytest

from app.edge.codec.decode_pool import MOST_WAIT_S, DecodePool, Ticket
from app.errors import DeadlineExceeded, Draining, QueueFull, TooLarge
from tests.support.service import wait_until


class Gate:
    """A call that runs until a test releases it, in place of a large image."""

    def __init__(self):
        self.began, self.may_end = threading.Event(), threading.Event()

    def __call__(self):
        self.began.set()
        assert self.may_end.wait(30)
        return "done"


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.may_end.set()


def pool_of(threads=1, memory_bytes=100, clock=time.perf_counter):
    return DecodePool(threads=threads, memory_bytes=memory_bytes, clock=clock)


def ticket(timeout_s=30.0, clock=time.perf_counter):
    return Ticket(clock() + timeout_s, timeout_s, clock)


async def started(gate):
    assert await asyncio.to_thread(gate.began.wait, 30)


def test_a_call_returns_its_result_or_raises_its_error():
    async def main():
        pool = pool_of()
        assert await pool.run(lambda: 7, ticket()) == 7
        with pytest.raises(ZeroDivisionError):
            await pool.run(lambda: 1 / 0, ticket())
        pool.close()

    asyncio.run(main())


def test_a_job_whose_client_left_is_not_run(gate):
    async def main():
        pool, ran = pool_of(), []
        first = asyncio.create_task(pool.run(gate, ticket()))
        await started(gate)
        second = asyncio.create_task(pool.run(lambda: ran.append(2), ticket()))
        await asyncio.sleep(0)
        second.cancel()
        third = asyncio.create_task(pool.run(lambda: ran.append(3), ticket()))
        await asyncio.sleep(0)
        gate.may_end.set()
        assert await first == "done"
        await third
        assert ran == [3]
        pool.close()

    asyncio.run(main())


def test_of_the_jobs_that_run_alone_one_runs_at_a_time_and_others_pass_them(gate):
    async def main():
        pool, ran = pool_of(threads=2), []
        first = asyncio.create_task(pool.run(gate, ticket(), alone=True))
        await started(gate)
        second = asyncio.create_task(pool.run(lambda: ran.append("second alone"), ticket(), alone=True))
        await asyncio.sleep(0)
        for number in range(3):
            await pool.run(lambda number=number: ran.append(number), ticket())
        assert ran == [0, 1, 2]
        gate.may_end.set()
        await asyncio.gather(first, second)
        assert ran == [0, 1, 2, "second alone"]
        pool.close()

    asyncio.run(main())


def test_while_a_job_holds_the_lock_of_the_interpreter_the_event_loop_gets_it_sooner():
    usual = sys.getswitchinterval()

    async def main():
        pool = pool_of()
        assert await pool.run(sys.getswitchinterval, ticket(), alone=True) < usual / 5
        assert await pool.run(sys.getswitchinterval, ticket()) == pytest.approx(usual)
        pool.close()

    asyncio.run(main())


def test_jobs_that_wait_for_one_that_runs_alone_keep_out_only_their_like(gate):
    async def main():
        now = [0.0]
        clock = lambda: now[0]  # noqa: E731 - a clock that the test sets
        pool = pool_of(threads=2, clock=clock)
        first = asyncio.create_task(pool.run(gate, ticket(clock=clock), alone=True))
        await started(gate)
        second = asyncio.create_task(pool.run(lambda: 2, ticket(clock=clock), alone=True))
        await asyncio.sleep(0)
        now[0] = MOST_WAIT_S + 0.1
        with pytest.raises(QueueFull, match="1 bodies wait to be decoded, the oldest for 1100 ms"):
            await pool.run(lambda: 3, ticket(clock=clock), alone=True)
        assert await pool.run(lambda: 4, ticket(clock=clock)) == 4
        gate.may_end.set()
        assert await asyncio.gather(first, second) == ["done", 2]
        pool.close()

    asyncio.run(main())


def test_a_deadline_fails_a_job_while_it_waits_and_while_it_runs(gate):
    async def main():
        pool = pool_of()
        running = asyncio.create_task(pool.run(gate, ticket(0.05)))
        await started(gate)
        with pytest.raises(DeadlineExceeded, match="the timeout of 20 ms passed while the request was decoded"):
            await pool.run(lambda: None, ticket(0.02))
        with pytest.raises(DeadlineExceeded):
            await running
        pool.close()

    asyncio.run(main())


def test_a_job_is_cancelled_between_two_instances_when_its_client_has_left(gate):
    async def main():
        pool, mine = pool_of(), ticket()
        seen = []

        def decode_two():
            gate()
            try:
                mine.check()
            except DeadlineExceeded as error:
                seen.append(error)
                raise

        job = asyncio.create_task(pool.run(decode_two, mine))
        await started(gate)
        job.cancel()
        await asyncio.sleep(0)
        gate.may_end.set()
        await pool.run(lambda: None, ticket())  # the same thread, after it
        assert len(seen) == 1
        pool.close()

    asyncio.run(main())


def test_no_job_joins_while_the_oldest_waits_for_too_long(gate):
    now = [0.0]

    async def main():
        pool = pool_of(clock=lambda: now[0])
        running = asyncio.create_task(pool.run(gate, ticket(clock=lambda: now[0])))
        await started(gate)
        waiting = asyncio.create_task(pool.run(lambda: 1, ticket(clock=lambda: now[0])))
        await asyncio.sleep(0)
        now[0] = MOST_WAIT_S + 0.5
        with pytest.raises(QueueFull, match="1 bodies wait to be decoded, the oldest for 1500 ms; try again"):
            await pool.run(lambda: 2, ticket(clock=lambda: now[0]))
        gate.may_end.set()
        assert await running == "done"
        assert await waiting == 1
        assert await pool.run(lambda: 2, ticket(clock=lambda: now[0])) == 2
        pool.close()

    asyncio.run(main())


def test_images_wait_for_memory_and_one_that_never_fits_is_refused(gate):
    async def main():
        pool = pool_of(threads=2)
        held = []

        def hold(nbytes, name, then):
            with pool.room(mine, nbytes):
                held.append(name)
                then()
                held.append(f"{name} ends")

        mine = ticket()
        first = asyncio.create_task(pool.run(lambda: hold(60, "first", gate), mine))
        await started(gate)
        second = asyncio.create_task(pool.run(lambda: hold(60, "second", lambda: None), mine))
        await asyncio.sleep(0.02)
        assert held == ["first"]
        gate.may_end.set()
        await asyncio.gather(first, second)
        assert held == ["first", "first ends", "second", "second ends"]
        with pytest.raises(TooLarge, match="decoding the image takes 101 bytes; at most 100 are allowed"):
            await pool.run(lambda: hold(101, "third", lambda: None), ticket())
        pool.close()

    asyncio.run(main())


def test_a_job_that_waits_for_memory_fails_at_its_deadline(gate):
    async def main():
        pool = pool_of(threads=2)

        def hold(then, mine):
            with pool.room(mine, 60):
                then()

        first = asyncio.create_task(pool.run(lambda: hold(gate, ticket()), ticket()))
        await started(gate)
        mine = ticket(0.05)
        with pytest.raises(DeadlineExceeded):
            await pool.run(lambda: hold(lambda: None, mine), mine)
        gate.may_end.set()
        await first
        assert await pool.run(lambda: hold(lambda: None, ticket()), ticket()) is None
        pool.close()

    asyncio.run(main())


def test_at_the_end_of_the_shutdown_time_all_jobs_fail_and_the_threads_end(gate):
    async def main():
        pool = pool_of()
        jobs = [asyncio.create_task(pool.run(gate, ticket())) for _ in range(3)]
        await started(gate)
        pool.fail_unfinished()
        for job in jobs:
            with pytest.raises(Draining):
                await job
        pool.close()
        assert pool.runs  # in the middle of its instance
        gate.may_end.set()
        await asyncio.to_thread(wait_until, lambda: not pool.runs)

    asyncio.run(main())


class Body:
    """Represents the data of a job."""


def test_a_failed_job_creates_no_reference_cycle():
    async def main():
        pool = pool_of()

        def fail(body):
            raise TooLarge("too large")

        async def ask(body):
            try:
                await pool.run(lambda: fail(body), ticket())
            except TooLarge:
                return weakref.ref(body)

        gc.disable()
        try:
            kept = await ask(Body())
            await pool.run(lambda: None, ticket())  # the thread has released it as well
            assert kept() is None
        finally:
            gc.enable()
        pool.close()

    asyncio.run(main())
