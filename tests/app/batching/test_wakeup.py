"""The planned step of a batcher: there is one at most."""

import asyncio

from app.batching.wakeup import Wakeup


def calls_of(plan):
    """Whether a step was planned at each call, after ``plan`` and some turns of the event loop."""
    calls = []

    async def main():
        wakeup = Wakeup()
        plan(wakeup, lambda: calls.append(wakeup.is_set), asyncio.get_running_loop())
        await asyncio.sleep(0.01)
        return wakeup.is_set

    assert not asyncio.run(main())
    return calls


def test_a_planned_step_is_over_when_it_is_called():
    assert calls_of(lambda wakeup, step, loop: wakeup.soon(step, loop)) == [False]
    assert calls_of(lambda wakeup, step, loop: wakeup.after(0.001, step, loop)) == [False]


def test_a_new_plan_replaces_the_one_before():
    def plan(wakeup, step, loop):
        wakeup.after(0.001, step, loop)
        wakeup.soon(step, loop)
        wakeup.soon(step, loop)
        assert wakeup.is_set

    assert calls_of(plan) == [False]


def test_a_cancelled_step_is_not_called():
    def plan(wakeup, step, loop):
        wakeup.cancel()  # without effect: nothing is planned
        wakeup.soon(step, loop)
        wakeup.cancel()

    assert calls_of(plan) == []
