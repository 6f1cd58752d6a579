"""Each batch runs on the device that is measured to answer it sooner."""

import asyncio

import numpy as np
import pytest

from app.runtime.failover import Condition
from app.runtime.router import EXPLORE_EVERY, RoutedBackend, Router, crossover, faster_of
from app.runtime.warmup import LatencyCurve
from tests.support.fakes import FakeBackend, FakeClock, Observed, make_batcher, make_work

SIZES = (1, 2, 4, 8)


def gpu_curve():
    return LatencyCurve(SIZES, [(1.0, 1.0, 1.1, 1.2)])


def cpu_curve():
    return LatencyCurve(SIZES, [(0.4, 0.8, 1.6, 3.2)])


def test_small_batches_go_to_the_cpu_and_large_ones_to_the_gpu():
    router = Router(gpu_curve(), cpu_curve())
    assert [router.chooses_gpu(rows) for rows in (1, 2, 3, 4, 8, 100)] == [False, False, True, True, True, True]


def test_length_decides_as_well():
    gpu = LatencyCurve((1, 2), [(1.0, 1.0), (1.0, 1.0)], lengths=(10, 100))
    cpu = LatencyCurve((1, 2), [(0.2, 0.4), (2.0, 4.0)], lengths=(10, 100))
    router = Router(gpu, cpu)
    assert [router.chooses_gpu(1, length) for length in (5, 10, 40, 80, 100)] == [False, False, False, True, True]
    assert crossover(gpu, cpu) == 1


@pytest.mark.parametrize(
    ("gpu", "cpu", "size"),
    [
        (gpu_curve(), cpu_curve(), 4),
        (cpu_curve(), gpu_curve(), 1),
        (gpu_curve(), LatencyCurve(SIZES, [(0.1, 0.2, 0.4, 0.8)]), None),
    ],
)
def test_the_crossover_is_the_smallest_size_at_which_the_gpu_is_faster(gpu, cpu, size):
    assert crossover(gpu, cpu) == size


def test_both_together_are_as_fast_as_the_faster_one():
    assert faster_of(gpu_curve(), cpu_curve()).table == ((0.4, 0.8, 1.1, 1.2),)


def test_measured_times_of_batches_move_the_crossover():
    router = Router(gpu_curve(), cpu_curve())
    for _ in range(50):
        router.ran(4, 9.0, on_gpu=True)
    assert not router.chooses_gpu(4)


def test_a_close_second_is_tried_now_and_then_and_a_bad_one_never():
    router = Router(gpu_curve(), cpu_curve())
    chosen = [router.chooses_gpu(2) for _ in range(2 * EXPLORE_EVERY)]
    assert [i for i, on_gpu in enumerate(chosen) if on_gpu] == [EXPLORE_EVERY - 1, 2 * EXPLORE_EVERY - 1]
    router = Router(gpu_curve(), cpu_curve())
    assert not any(router.chooses_gpu(1) for _ in range(2 * EXPLORE_EVERY))


class Slow(FakeBackend):
    """Advances a fake clock by its computing time."""

    def __init__(self, clock, curve, *, times=1.0, provider="CPUExecutionProvider"):
        super().__init__()
        self.clock, self.curve, self.times, self.provider = clock, curve, times, provider

    def run(self, inputs):
        self.clock.now += self.times * self.curve.estimate(len(inputs["x"]))
        return super().run(inputs)


def routed(*, times=1.0, condition=None):
    clock = FakeClock()
    gpu = Slow(clock, gpu_curve(), times=times, provider="CUDAExecutionProvider")
    cpu = Slow(clock, cpu_curve())
    backend = RoutedBackend(gpu, cpu, Router(gpu_curve(), cpu_curve()), condition=condition or Condition(), clock=clock)
    return backend, gpu, cpu


def run(backend, rows):
    x = np.arange(rows, dtype=np.float32).reshape(-1, 1)
    assert backend.run({"x": x})["y"].tolist() == (2 * x).tolist()


def test_a_gpu_that_turns_slow_loses_its_batches():
    backend, gpu, cpu = routed(times=5.0)
    for _ in range(20):
        run(backend, 4)
    assert 0 < len(gpu.batches) < 6
    assert len(gpu.batches) + len(cpu.batches) == 20


def test_times_of_the_cpu_in_place_of_a_failing_gpu_do_not_count_for_the_gpu():
    condition = Condition(degraded="CUDA failure 700; the CPU takes over")
    backend, gpu, _ = routed(times=5.0, condition=condition)
    for _ in range(20):
        run(backend, 4)
    assert len(gpu.batches) == 20


def test_both_are_closed():
    backend, gpu, cpu = routed()
    assert backend.provider == "CUDAExecutionProvider"
    backend.close()
    assert gpu.closed
    assert cpu.closed


def test_through_the_batcher_every_row_gets_its_own_answer_from_every_device():
    backend, gpu, cpu = routed()

    async def main():
        loop = asyncio.get_running_loop()
        batcher = make_batcher(backend, clock=FakeClock(), observed=Observed(), max_batch_size=8, rows=1000)
        works = []
        for i, size in enumerate([1, 8, 2, 5, 1, 1, 8, 3]):
            values = [float(10 * i + j) for j in range(size)]
            works.append((values, make_work(loop, *values)))
            batcher.submit([works[-1][1]])
            await works[-1][1].future
        for values, work in works:
            assert work.future.result()["y"][:, 0].tolist() == [2 * value for value in values]
        batcher.close()

    asyncio.run(main())
    assert sorted(map(len, gpu.batches)) == [3, 5, 8, 8]
    assert sorted(map(len, cpu.batches)) == [1, 1, 1, 2]


def test_texts_are_routed_by_their_length():
    class Echo(FakeBackend):
        def run(self, inputs):
            self.batches.append(inputs["ids"].shape)
            return {"y": inputs["ids"]}

    gpu = LatencyCurve((1, 2), [(1.0, 1.0), (1.0, 1.0)], lengths=(10, 100))
    cpu = LatencyCurve((1, 2), [(0.2, 0.4), (2.0, 4.0)], lengths=(10, 100))
    on_gpu, on_cpu = Echo(), Echo()
    backend = RoutedBackend(on_gpu, on_cpu, Router(gpu, cpu), condition=Condition(), clock=FakeClock(), sequence="ids")
    for length in (8, 100):
        backend.run({"ids": np.zeros((2, length), np.int32)})
    assert (on_cpu.batches, on_gpu.batches) == ([(2, 8)], [(2, 100)])
