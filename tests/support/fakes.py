"""Fakes that we wrote: a clock and a backend that a test controls."""

import asyncio
import threading

import numpy as np

from app.batching.admission import Admission
from app.batching.batcher import Batcher
from app.batching.instances import Instance
from app.batching.rules import BatchRules
from app.batching.work import Work
from app.errors import BackendFailed
from app.runtime.backend import Backend
from app.runtime.warmup import LatencyCurve


class FakeClock:
    """A clock that a test advances."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class FakeBackend(Backend):
    """Answers twice its input; fails on batches that contain ``poison``; a test can block it."""

    provider = "CPUExecutionProvider"

    def __init__(self, *, poison: float | None = None, failure: type[BackendFailed] = BackendFailed) -> None:
        self.poison, self.failure = poison, failure
        self.batches: list[list[float]] = []
        self.may_run = threading.Event()
        self.may_run.set()
        self.begun = 0  # calls so far
        self.closed = False

    def run(self, inputs):
        self.begun += 1
        self.may_run.wait(10)
        values = inputs["x"]
        self.batches.append(values[:, 0].tolist())
        if self.poison is not None and (values == self.poison).any():
            raise self.failure("poison")
        return {"y": values * 2}

    def close(self) -> None:
        self.closed = True


class FaultyGpu(FakeBackend):
    """A fake whose device fails when a test sets it.

    Args:
        fault: from the rows of a call and how many calls came before, the error's text; None lets it run.
    """

    provider = "CUDAExecutionProvider"

    def __init__(self, fault) -> None:
        super().__init__()
        self.fault = fault
        self.calls = 0

    def run(self, inputs):
        self.calls += 1
        text = self.fault(len(inputs["x"]), self.calls - 1)
        if text is not None:
            raise BackendFailed(text)
        return super().run(inputs)


class Observed:
    """Records the reports of a batcher."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, str]] = []
        self.paddings: list[float] = []
        self.dropped: list[tuple[int, str]] = []
        self.hangs = 0
        self.faults = 0
        self.queued = (0, 0)

    def batch_done(self, *, rows, reason, times, padding):
        self.batches.append((rows, reason))
        self.paddings.append(padding)

    def batch_hung(self):
        self.hangs += 1

    def device_failed(self, *, times):
        self.faults += times

    def work_dropped(self, *, rows, reason):
        self.dropped.append((rows, reason))

    def queue_changed(self, *, rows, nbytes):
        self.queued = (rows, nbytes)


def make_batcher(
    *backends, clock, observed, inline=False, max_batch_size=4, delay_s=0.0, rows=100, row_s=0.01, **rules
) -> Batcher:
    rules = BatchRules(
        max_batch_size=max_batch_size,
        max_queue_delay_s=delay_s,
        inline_below_s=1.0 if inline else 0.0,
        **{"priority_levels": 3, "default_priority_level": 2, **rules},
    )
    return Batcher(
        instances=[Instance(backend) for backend in backends],
        rules=rules,
        curve=LatencyCurve((1,), [(row_s,)]),
        admission=Admission(rows, 10**6, rules.priority_levels, len(backends)),
        observer=observed,
        clock=clock,
    )


def make_work(
    loop, *values: float, now: float = 100.0, timeout_s: float = 10.0, level: int = 2, length: int = 0
) -> Work:
    """Work of one row per value."""
    array = np.array(values, np.float32).reshape(-1, 1)
    return Work(
        inputs={"x": array},
        rows=len(array),
        nbytes=array.nbytes,
        enqueued_at=now,
        deadline=now + timeout_s,
        future=loop.create_future(),
        level=level,
        length=length,
    )


async def answer(work):
    """The result of a work: the first number of each of its rows."""
    return (await asyncio.wait_for(work.future, 10))["y"][:, 0].tolist()


async def until(happened):
    """Run the event loop until a condition is true."""
    async with asyncio.timeout(30):
        while not happened():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def turns(count):
    """Give all other tasks this many turns of the event loop."""
    for _ in range(count):
        await asyncio.sleep(0)
