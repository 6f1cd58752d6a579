"""Copies for a canary that is too slow for them: how many of them wait."""

import asyncio
from types import SimpleNamespace

import numpy as np

from app.batching.work import Prediction
from app.repository.rollout_policy import RolloutPolicy, ShadowPolicy
from app.rollout.canary import MOST_COPIES, MOST_COPY_BYTES, Rollout


def copied(sizes):
    """How many copies of requests of ``nbytes`` were accepted, while the stable version is never idle."""

    async def main():
        busy = asyncio.Event()
        stable = SimpleNamespace(name="m", version=1, batcher=SimpleNamespace(drained=busy.wait))
        canary = SimpleNamespace(name="m", version=2)
        rollout = Rollout(RolloutPolicy(shadow=ShadowPolicy()), stable, canary, None, clock=lambda: 0.0)
        for size in sizes:
            rollout.copy({"x": np.zeros(size - 4, np.uint8)}, Prediction({"y": np.zeros(1, np.float32)}, rows=1))
        await asyncio.sleep(0)
        rollout.end()
        return len(sizes) - rollout.comparison.dropped

    return asyncio.run(main())


def test_so_many_small_copies_wait():
    assert copied([10] * (MOST_COPIES + 5)) == MOST_COPIES


def test_large_copies_wait_as_far_as_they_fit():
    third = MOST_COPY_BYTES // 3
    assert copied([third] * 5) == 3
    assert copied([MOST_COPY_BYTES + 1, 10, MOST_COPY_BYTES - 10, 1_000]) == 2
