"""A backend call that does not return: which requests fail, which continue, and when the backend is used again."""

import asyncio
import logging
import math
import threading
from types import SimpleNamespace

import pytest

from app.batching.instances import Instance
from app.batching.rules import BatchRules
from app.batching.watchdog import Watchdog
from app.batching.work import Batch
from app.errors import BackendFailed, Draining, ModelNotReady
from tests.support.fakes import FakeBackend, FakeClock, Observed, answer, make_batcher, make_work, until
from tests.support.service import wait_until

ALLOWED_S = 0.05


class Stuck(FakeBackend):
    """Does not return until a test releases it."""

    def __init__(self):
        super().__init__()
        self.entered = threading.Event()
        self.may_run.clear()

    def run(self, inputs):
        self.entered.set()
        self.may_run.wait(30)
        return super().run(inputs)


def run(backends, scenario, *, allowed_s=ALLOWED_S):
    clock, observed = FakeClock(), Observed()

    async def main():
        batcher = make_batcher(*backends, clock=clock, observed=observed, max_execution_s=allowed_s, rows=1000)
        loop = asyncio.get_running_loop()

        def work(*values):
            return make_work(loop, *values, now=clock.now, timeout_s=1e6)

        try:
            await scenario(batcher, work, clock)
        finally:
            for backend in backends:
                backend.may_run.set()
            await asyncio.wait_for(batcher.drained(), 10)
            batcher.stop()
            await asyncio.to_thread(batcher.close)

    asyncio.run(main())
    return observed


async def hang(batcher, work, backend, clock):
    """A work in a batch that is given up."""
    stuck = work(1)
    batcher.submit([stuck])
    assert await asyncio.to_thread(backend.entered.wait, 10)
    clock.now += 1
    with pytest.raises(BackendFailed, match="did not return: a batch runs for longer than max_execution_ms allows"):
        await asyncio.wait_for(stuck.future, 10)


def test_without_a_usable_instance_all_requests_are_refused_immediately_until_the_call_returns(caplog):
    caplog.set_level(logging.INFO)
    backend = Stuck()

    async def scenario(batcher, work, clock):
        stuck, waiting = work(0), work(5)
        batcher.submit([stuck])
        assert await asyncio.to_thread(backend.entered.wait, 10)
        batcher.submit([waiting])
        clock.now += 1
        with pytest.raises(BackendFailed, match="did not return"):
            await asyncio.wait_for(stuck.future, 10)
        with pytest.raises(ModelNotReady, match="every backend of the version hangs"):
            await waiting.future
        with pytest.raises(ModelNotReady):
            batcher.submit([work(2)])
        await asyncio.wait_for(batcher.drained(), 1)
        condition = batcher.instances.all[0].condition
        assert condition.reason == (
            "a batch runs for longer than max_execution_ms allows; it gets no batches until that call returns"
        )
        assert condition.hangs == 1
        backend.may_run.set()
        await until(lambda: batcher.instances.free)
        batcher.submit([again := work(3)])
        assert await answer(again) == [6]
        assert (condition.reason, condition.hangs) == ("", 1)

    observed = run([backend], scenario)
    assert observed.batches == [(1, "idle")], "what nobody waited for is not counted"
    assert observed.hangs == 1
    assert "hangs: a batch runs for longer" in caplog.text
    assert "answers again after it hung" in caplog.text
    assert backend.closed


def test_the_other_instance_runs_new_work():
    stuck, sound = Stuck(), FakeBackend()

    async def scenario(batcher, work, clock):
        await hang(batcher, work, stuck, clock)
        assert batcher.instances.degraded.startswith("cpu: a batch runs for longer")
        works = [work(i, i + 1, i + 2) for i in range(20)]
        for each in works:
            batcher.submit([each])
        for i, each in enumerate(works):
            assert await answer(each) == [2 * i, 2 * i + 2, 2 * i + 4]
        stuck.may_run.set()
        await until(lambda: len(batcher.instances.free) == 2)
        assert batcher.instances.degraded == ""

    run([stuck, sound], scenario)
    assert len(sound.batches) == 20


def test_closing_does_not_wait_for_a_call_that_hangs_and_that_call_frees_its_backend():
    backend = Stuck()

    async def main():
        clock = FakeClock()
        batcher = make_batcher(backend, clock=clock, observed=Observed(), max_execution_s=ALLOWED_S)
        loop = asyncio.get_running_loop()
        await hang(batcher, lambda *values: make_work(loop, *values, now=clock.now), backend, clock)
        batcher.close()
        assert not backend.closed

    asyncio.run(main())
    _let_return(backend)
    assert backend.closed


def _let_return(backend):
    """Let its call return, and wait until its thread has freed it; threads of other tests may never end."""
    backend.may_run.set()
    wait_until(lambda: backend.closed)


def test_closing_does_not_wait_forever_for_a_call_that_was_not_detected_as_hanging(caplog):
    backend = Stuck()

    async def main():
        clock = FakeClock()
        batcher = make_batcher(backend, clock=clock, observed=Observed(), max_execution_s=math.inf)
        batcher.submit([stuck := make_work(asyncio.get_running_loop(), 1, now=clock.now)])
        assert await asyncio.to_thread(backend.entered.wait, 10)
        batcher.stop()
        with pytest.raises(Draining):
            await stuck.future
        await asyncio.wait_for(asyncio.to_thread(batcher.instances.close, timeout_s=0.05), 10)
        assert not backend.closed

    asyncio.run(main())
    assert "an instance still runs a batch" in caplog.text
    _let_return(backend)
    assert backend.closed


def test_without_a_limit_a_batch_may_take_any_time():
    backend = Stuck()

    async def scenario(batcher, work, clock):
        patient = work(1)
        batcher.submit([patient])
        assert await asyncio.to_thread(backend.entered.wait, 10)
        clock.now += 1e5
        await asyncio.sleep(2 * ALLOWED_S)
        backend.may_run.set()
        assert await answer(patient) == [2]

    run([backend], scenario, allowed_s=math.inf)


def test_a_batch_that_started_after_the_timer_was_set_gets_its_full_time():
    backend = Stuck()

    async def scenario(batcher, work, clock):
        backend.may_run.set()
        batcher.submit([first := work(1)])
        assert await answer(first) == [2]
        backend.entered.clear()
        backend.may_run.clear()
        clock.now += ALLOWED_S / 2
        batcher.submit([second := work(2)])
        assert await asyncio.to_thread(backend.entered.wait, 10)
        clock.now += ALLOWED_S * 0.75  # later than the end of the first one's time
        await asyncio.sleep(2 * ALLOWED_S)
        assert not second.future.done()
        backend.may_run.set()
        assert await answer(second) == [4]

    run([backend], scenario)


def test_a_batch_whose_device_fails_gets_its_full_time_again_once_a_spare_is_open():
    backend = Stuck()

    async def scenario(batcher, work, clock):
        condition = batcher.instances.all[0].condition
        batcher.submit([patient := work(1)])
        assert await asyncio.to_thread(backend.entered.wait, 10)
        condition.spare_at = math.inf
        clock.now += 20 * ALLOWED_S
        await asyncio.sleep(3 * ALLOWED_S)
        condition.spare_at = clock.now
        clock.now += ALLOWED_S / 2
        await asyncio.sleep(3 * ALLOWED_S)
        assert not patient.future.done()
        clock.now += ALLOWED_S
        with pytest.raises(BackendFailed, match="did not return"):
            await asyncio.wait_for(patient.future, 10)

    run([backend], scenario)


def test_the_time_limit_comes_from_the_estimate_unless_it_is_configured():
    rules = BatchRules(max_batch_size=1, inline_below_s=0.0)
    assert (rules.seconds_allowed(0.001), rules.seconds_allowed(2.0)) == (30.0, 200.0)
    assert BatchRules(max_batch_size=1, inline_below_s=0.0, max_execution_s=5.0).seconds_allowed(2.0) == 5.0


class FakeTimers:
    """An event loop that only records its timers; a test fires them."""

    def __init__(self):
        self.timers = []

    def call_later(self, seconds, call, *arguments):
        timer = SimpleNamespace(seconds=seconds, call=lambda: call(*arguments), cancelled=False)
        timer.cancel = lambda: setattr(timer, "cancelled", True)
        self.timers.append(timer)
        return timer

    @property
    def set(self):
        return [timer for timer in self.timers if not timer.cancelled]

    def fire(self):
        [timer] = self.set
        timer.cancelled = True
        timer.call()


def watched(count):
    clock, loop, hung = FakeClock(), FakeTimers(), []
    instances = [Instance(FakeBackend()) for _ in range(count)]
    return Watchdog(instances, hung.append, clock), instances, clock, loop, hung


def test_exactly_as_long_as_allowed_is_too_long_and_an_idle_instance_never_hangs():
    watchdog, (busy, idle), clock, loop, hung = watched(2)
    idle.hangs_at = clock.now - 50
    busy.running = Batch([], 1, "full")
    watchdog.watch(busy, now=clock.now, allowed_s=5.0, loop=loop)
    clock.now += 5.0
    loop.fire()
    assert hung == [busy]


def test_the_timer_is_set_for_the_next_end_and_again_for_a_later_one():
    watchdog, (first, second), clock, loop, hung = watched(2)
    first.running = second.running = Batch([], 1, "full")
    watchdog.watch(first, now=clock.now, allowed_s=5.0, loop=loop)
    watchdog.watch(second, now=clock.now, allowed_s=3.0, loop=loop)
    assert [timer.seconds for timer in loop.set] == [3.0]
    second.running = None
    clock.now += 3.0
    loop.fire()
    assert hung == []
    assert [timer.seconds for timer in loop.set] == [2.0]
    # One that must end earlier moves the timer, one that may end later does not.
    second.running = Batch([], 1, "full")
    watchdog.watch(second, now=clock.now, allowed_s=9.0, loop=loop)
    assert [timer.seconds for timer in loop.set] == [2.0]
    watchdog.watch(second, now=clock.now, allowed_s=1.0, loop=loop)
    assert [timer.seconds for timer in loop.set] == [1.0]


def test_no_timer_is_set_for_batches_that_may_take_any_time():
    watchdog, (first, second), clock, loop, hung = watched(2)
    first.running = second.running = Batch([], 1, "full")
    watchdog.watch(first, now=clock.now, allowed_s=math.inf, loop=loop)
    assert loop.set == []
    watchdog.watch(second, now=clock.now, allowed_s=1.0, loop=loop)
    second.running = None
    clock.now += 1.0
    loop.fire()
    assert (hung, loop.set) == ([], [])


def test_a_closed_watchdog_calls_no_callback():
    watchdog, (busy,), clock, loop, hung = watched(1)
    busy.running = Batch([], 1, "full")
    watchdog.watch(busy, now=clock.now, allowed_s=1.0, loop=loop)
    [timer] = loop.set
    watchdog.close()
    assert loop.set == []
    clock.now += 1.0
    timer.call()
    assert hung == []
