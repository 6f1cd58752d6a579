"""Loads take turns, and one that does not end blocks neither the next one nor its callers."""

import asyncio
import threading
from types import SimpleNamespace

import pytest

from app.errors import Draining, VersionRefused
from app.lifecycle.loading.load_threads import LoadThreads
from tests.support.fakes import until


class Load:
    """A load that blocks until a test ends it."""

    def __init__(self):
        self.began, self.may_end = threading.Event(), threading.Event()
        self.is_closed = threading.Event()
        batcher = SimpleNamespace(stop=lambda: None, close=self.is_closed.set)
        self.model = SimpleNamespace(admission=SimpleNamespace(draining=False), batcher=batcher)
        self.model.with_signatures = (self.model,)

    def __call__(self):
        self.began.set()
        assert self.may_end.wait(30)
        return self.model


@pytest.fixture
def load():
    loads = []

    def make():
        loads.append(Load())
        return loads[-1]

    yield make
    for each in loads:
        each.may_end.set()


def test_one_load_at_a_time(load):
    async def main():
        threads = LoadThreads(timeout_s=30, turn_s=30)
        first, second = load(), load()
        tasks = [asyncio.create_task(threads.run(each)) for each in (first, second)]
        await until(first.began.is_set)
        await asyncio.sleep(0.05)
        assert not second.began.is_set()
        first.may_end.set()
        assert await tasks[0] is first.model
        await until(second.began.is_set)
        second.may_end.set()
        assert await tasks[1] is second.model
        await until(lambda: not threads.any_runs)

    asyncio.run(main())


def test_an_error_of_a_load_is_raised_and_the_next_load_starts():
    async def main():
        threads = LoadThreads(timeout_s=30, turn_s=30)
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                await threads.run(lambda: 1 // 0)

    asyncio.run(main())


def test_after_its_turn_the_next_load_starts_in_parallel(load):
    async def main():
        threads = LoadThreads(timeout_s=30, turn_s=0.05)
        first, second, third = load(), load(), load()
        tasks = [asyncio.create_task(threads.run(each)) for each in (first, second, third)]
        await until(third.began.is_set)
        assert not any(task.done() for task in tasks)
        for each, task in zip((first, second, third), tasks, strict=True):
            each.may_end.set()
            assert await task is each.model

    asyncio.run(main())


def test_a_load_that_takes_too_long_is_refused_and_its_late_result_is_discarded(load):
    async def main():
        threads = LoadThreads(timeout_s=0.05, turn_s=30)
        late = load()
        with pytest.raises(VersionRefused, match=r"did not finish loading within 0\.05 s"):
            await threads.run(late)
        assert threads.any_runs
        late.may_end.set()
        await until(late.is_closed.is_set)
        assert late.model.admission.draining
        await until(lambda: not threads.any_runs)

    asyncio.run(main())


def test_when_the_service_ends_no_caller_waits_and_no_load_starts(load):
    async def main():
        threads = LoadThreads(timeout_s=30, turn_s=30)
        running, waiting = load(), load()
        tasks = [asyncio.create_task(threads.run(each)) for each in (running, waiting)]
        await until(running.began.is_set)
        threads.end()
        for task in tasks:
            with pytest.raises(Draining):
                await task
        assert not waiting.began.is_set()
        with pytest.raises(Draining):
            await threads.run(load())
        running.may_end.set()
        await until(running.is_closed.is_set)

    asyncio.run(main())
