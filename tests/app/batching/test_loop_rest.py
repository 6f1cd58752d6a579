import asyncio
import threading

import pytest

from app.batching import loop_rest
from app.batching.instance_thread import InstanceThread
from app.batching.instances import Instance
from app.batching.loop_rest import LoopRest

pytestmark = pytest.mark.anyio
LONG_S = 60.0


@pytest.fixture(autouse=True)
def long_rests(monkeypatch):
    """A rest that nothing ends would outlast the limit of a test."""
    monkeypatch.setattr(loop_rest, "LONGEST_S", LONG_S)
    monkeypatch.setattr(loop_rest, "HANGS_FROM_S", LONG_S)


class Batch:
    """Runs in a thread until it is released."""

    def __init__(self, rest, *, work_waits=True):
        self.released, self.ended, self.settled = threading.Event(), threading.Event(), asyncio.Event()
        self.instance = Instance(backend=None, thread=InstanceThread(), loop_rest=rest)
        self.instance.run(self._run, self._settle, asyncio.get_running_loop(), work_waits=work_waits)

    def _run(self):
        self.released.wait()
        self.ended.set()
        return "outputs"

    def _settle(self, result):
        assert result == "outputs"
        self.settled.set()

    async def finish(self):
        self.released.set()
        await self.settled.wait()
        self.instance.thread.end(lambda: None)


async def test_a_rest_ends_with_the_batch_behind_which_work_waits():
    rest = LoopRest()
    batch = Batch(rest)
    threading.Timer(0.05, batch.released.set).start()
    rest.rest()
    assert batch.ended.is_set()
    await batch.finish()


async def test_no_rest_while_no_work_waits_behind_the_batch():
    rest = LoopRest()
    batch = Batch(rest, work_waits=False)
    rest.rest()
    assert not batch.ended.is_set()
    await batch.finish()


async def test_no_rest_once_the_answers_are_delivered():
    rest = LoopRest()
    await Batch(rest).finish()
    rest.rest()


async def test_no_rest_for_a_batch_that_hangs(monkeypatch):
    monkeypatch.setattr(loop_rest, "HANGS_FROM_S", 0.0)
    rest = LoopRest()
    batch = Batch(rest)
    rest.rest()
    assert not batch.ended.is_set()
    await batch.finish()


async def test_a_batch_that_fails_ends_the_rest_too():
    rest, loop, failed = LoopRest(), asyncio.get_running_loop(), asyncio.Event()
    instance, released = Instance(backend=None, loop_rest=rest), threading.Event()

    def fail():
        released.wait()
        raise ValueError("the batch")

    def settle(result):
        assert isinstance(result, ValueError)
        failed.set()

    instance.run(fail, settle, loop, work_waits=True)
    threading.Timer(0.05, released.set).start()
    rest.rest()
    await failed.wait()
    instance.thread.end(lambda: None)


async def test_instances_with_a_core_of_their_own_never_rest():
    batch = Batch(None)
    await batch.finish()
