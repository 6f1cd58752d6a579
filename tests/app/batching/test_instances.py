"""Several instances behind one queue: what runs in parallel, and that every request is answered."""

import asyncio
import logging
import threading
from dataclasses import replace

import numpy as np
import pytest

from app.batching.admission import Admission
from app.batching.instances import Instance, Instances
from app.errors import BackendFailed, DeadlineOutOfReach, Draining
from app.runtime.failover import Condition, FailoverBackend
from app.runtime.placement import Placement
from app.runtime.warmup import LatencyCurve
from tests.support.fakes import FakeBackend, FakeClock, FaultyGpu, Observed, answer, make_batcher, make_work, until


class Meeting(FakeBackend):
    """Answers only while another instance runs a batch too."""

    def __init__(self, barrier):
        super().__init__()
        self.barrier = barrier

    def run(self, inputs):
        self.barrier.wait(10)
        return super().run(inputs)


def run(backends, scenario, **options):
    """Run ``scenario(batcher, work, clock)`` over these backends."""
    clock, observed = FakeClock(), Observed()

    async def main():
        batcher = make_batcher(*backends, clock=clock, observed=observed, **options)
        loop = asyncio.get_running_loop()

        def work(*values, **kwargs):
            return make_work(loop, *values, now=clock.now, **kwargs)

        try:
            await scenario(batcher, work, clock)
        finally:
            for backend in backends:
                getattr(backend, "may_run", threading.Event()).set()
            await asyncio.wait_for(batcher.drained(), 10)
            batcher.stop()
            await asyncio.to_thread(batcher.close)

    asyncio.run(main())
    return observed


def test_two_batches_run_at_the_same_time():
    barrier = threading.Barrier(2)
    backends = [Meeting(barrier), Meeting(barrier)]

    async def scenario(batcher, work, clock):
        works = [work(*range(4)), work(*range(4, 8))]
        for each in works:
            batcher.submit([each])
        assert [await answer(each) for each in works] == [[0, 2, 4, 6], [8, 10, 12, 14]]

    run(backends, scenario)
    assert [len(backend.batches) for backend in backends] == [1, 1]
    assert all(backend.closed for backend in backends)


def test_a_free_instance_runs_new_work_immediately_while_the_other_is_busy():
    busy, free = FakeBackend(), FakeBackend()
    busy.may_run.clear()

    async def scenario(batcher, work, clock):
        first, second = work(1), work(2)
        batcher.submit([first])
        await until(lambda: batcher.instances.all[0].running)
        batcher.submit([second])
        assert await answer(second) == [4]
        assert not first.future.done()
        busy.may_run.set()
        assert await answer(first) == [2]

    run([busy, free], scenario)


@pytest.mark.parametrize(("instances", "delay_s"), [(2, 0.0), (3, 0.0), (2, 0.002), (5, 0.001)])
def test_many_clients_at_random_moments_all_get_their_own_answer(instances, delay_s):
    generator = np.random.default_rng(instances)
    backends = [FakeBackend(poison=-1.0) for _ in range(instances)]

    async def client(batcher, work, number):
        for step in range(10):
            await asyncio.sleep(float(generator.random()) * 0.003)
            rows = int(generator.integers(1, 5))
            values = [float(1000 * number + 10 * step + row) for row in range(rows)]
            bad = generator.random() < 0.05
            mine = work(*([-1.0] if bad else values), level=int(generator.integers(1, 4)))
            batcher.submit([mine])
            if generator.random() < 0.1:
                mine.future.cancel()
            elif bad:
                with pytest.raises(BackendFailed, match="poison"):
                    await asyncio.wait_for(mine.future, 10)
            else:
                assert await answer(mine) == [2 * value for value in values]

    async def advance(clock):
        while True:
            await asyncio.sleep(0.001)
            clock.now += 0.001

    async def scenario(batcher, work, clock):
        time = asyncio.create_task(advance(clock))
        await asyncio.gather(*(client(batcher, work, number) for number in range(30)))
        time.cancel()

    observed = run(backends, scenario, rows=10_000, delay_s=delay_s)
    assert all(backend.batches for backend in backends)
    assert all(rows <= 4 for rows, _ in observed.batches)
    assert observed.queued == (0, 0)


def test_estimates_count_the_instances():
    backends = [FakeBackend(), FakeBackend()]
    for backend in backends:
        backend.may_run.clear()

    async def scenario(batcher, work, clock):
        for _ in range(2):  # 40 ms on each
            batcher.submit([work(*range(4))])
        await until(lambda: not batcher.instances.free)
        for _ in range(5):  # 200 ms in all, 100 ms for two instances
            batcher.submit([work(*range(4))])
        with pytest.raises(DeadlineOutOfReach, match=r"would take about 198\.0 ms"):
            batcher.submit([work(*range(4), timeout_s=0.17)])
        batcher.submit([work(*range(4), timeout_s=0.2)])

    run(backends, scenario)


def test_closing_waits_for_both_and_refuses_work_that_has_not_run():
    backends = [FakeBackend(), FakeBackend()]
    for backend in backends:
        backend.may_run.clear()

    async def scenario(batcher, work, clock):
        works = [work(*range(4)) for _ in range(3)]
        for each in works:
            batcher.submit([each])
        await until(lambda: not batcher.instances.free)
        drained = asyncio.create_task(batcher.drained())
        batcher.fail_unfinished()
        for refused in works:
            with pytest.raises(Draining):
                await refused.future
        backends[0].may_run.set()
        await until(lambda: batcher.instances.free)
        await asyncio.sleep(0)
        assert not drained.done(), "the other instance still runs"
        backends[1].may_run.set()
        await asyncio.wait_for(drained, 10)

    run(backends, scenario)
    assert all(backend.closed for backend in backends)


def test_drained_finishes_two_running_batches_and_waiting_work():
    backends = [FakeBackend(), FakeBackend()]
    for backend in backends:
        backend.may_run.clear()

    async def scenario(batcher, work, clock):
        works = [work(*range(4)) for _ in range(5)]
        for each in works:
            batcher.submit([each])
        await until(lambda: not batcher.instances.free)
        for backend in backends:
            backend.may_run.set()
        await asyncio.wait_for(batcher.drained(), 10)
        assert all(each.future.result()["y"].shape == (4, 1) for each in works)

    run(backends, scenario)


def test_when_our_own_code_fails_for_one_batch_the_other_is_answered():
    slow, quick = FakeBackend(), FakeBackend()
    slow.may_run.clear()

    async def scenario(batcher, work, clock):
        running = work(*range(4))
        batcher.submit([running])
        await until(lambda: len(batcher.instances.free) == 1)
        lost = work(1)
        lost.inputs = None
        lost.rows = 1
        quick.run = lambda inputs: {"y": None}  # a value that is not an array breaks the splitting
        batcher.submit([lost])
        with pytest.raises(BackendFailed, match="the batcher failed"):
            await asyncio.wait_for(lost.future, 10)
        del quick.run
        slow.may_run.set()
        assert await answer(running) == [0, 2, 4, 6]
        batcher.submit([again := work(3)])
        assert await answer(again) == [6]

    run([slow, quick], scenario)


def test_one_instance_with_a_faulty_device_loses_no_request_while_the_other_continues():
    clock, conditions = FakeClock(), [Condition(), Condition()]
    faulty = FaultyGpu(lambda rows, calls: "CUDA failure 700: an illegal memory access was encountered")
    sound = FaultyGpu(lambda rows, calls: None)
    spare = FakeBackend()
    backends = [
        FailoverBackend(gpu, lambda: spare, condition, name=f"cuda:{i}", clock=clock)
        for i, (gpu, condition) in enumerate(zip((faulty, sound), conditions, strict=True))
    ]

    async def scenario(batcher, work, _):
        works = [work(*range(i, i + 3)) for i in range(30)]
        for each in works:
            batcher.submit([each])
        for i, each in enumerate(works):
            assert await answer(each) == [2.0 * value for value in range(i, i + 3)]

    run(backends, scenario, rows=1000)
    assert conditions[0].degraded
    assert not conditions[1].degraded
    assert sound.batches
    assert spare.batches


def instances_on(*devices):
    return Instances([Instance(FakeBackend(), Placement(each, f"placed on {each}"), name=each) for each in devices])


def test_instances_that_hang_are_counted_out_and_in_again_with_their_admission(caplog):
    caplog.set_level(logging.INFO)
    instances, admission = instances_on("a", "b", "c"), Admission(10, 10, instances=3)
    for left, instance in ((2, instances.all[0]), (1, instances.all[1])):
        error = instances.exclude(instance, admission)
        assert error.message == "the backend did not return: a batch runs for longer than max_execution_ms allows"
        assert (instances.usable, admission.instances, instance.hangs) == (left, left, True)
    instances.include(instances.all[0], admission)
    assert (instances.usable, admission.instances) == (2, 2)
    assert (instances.all[0].condition.hung, instances.all[0].condition.reason) == ("", "")
    instances.exclude(instances.all[0], admission)
    assert (instances.hangs, instances.all[0].condition.hangs) == (3, 2)
    first, _, back, _ = [record.getMessage() for record in caplog.records]
    assert first == "a hangs: a batch runs for longer than max_execution_ms allows; 2 of 3 instances are left"
    assert back == "a answers again after it hung"


def test_each_reason_of_several_instances_is_reported_once_with_its_device():
    assert instances_on("cpu").reason == "placed on cpu"
    instances = instances_on("cuda:0", "cuda:1", "cuda:0")
    assert instances.reason == "cuda:0: placed on cuda:0; cuda:1: placed on cuda:1"
    assert instances.devices == ("cuda:0", "cuda:1")
    assert instances.degraded == ""
    instances.all[1].condition.degraded = "out of memory"
    assert instances.degraded == "cuda:1: out of memory"


def test_instances_that_share_backends_have_the_same_devices_and_report_only_new_faults():
    instances = instances_on("cuda:0", "cuda:1")
    instances.all[1].condition.faults = 4
    shared = []
    others = instances.sharing(lambda backend: shared.append(backend) or FakeBackend())
    assert shared == [each.backend for each in instances.all]
    for other, each in zip(others, instances.all, strict=True):
        assert (other.placement, other.condition, other.name) == (each.placement, each.condition, each.name)
        assert other.backend is not each.backend
    others[1].condition.faults += 2
    assert [each.new_faults() for each in others] == [0, 2]


def test_instances_that_never_ran_in_their_threads_close_without_a_warning(caplog):
    instances = instances_on("a", "b")
    instances.close(timeout_s=10.0)
    assert caplog.records == []
    assert all(each.backend.closed for each in instances.all)


def test_a_sibling_shares_the_backends_and_closes_only_what_it_was_given():
    backend = FakeBackend()

    class Borrowed(FakeBackend):
        def run(self, inputs):
            return backend.run(inputs)

    async def scenario(batcher, work, clock):
        borrowed = []
        sibling = batcher.sibling(
            share=lambda each: borrowed.append(each) or Borrowed(),
            rules=replace(batcher.rules, max_batch_size=2),
            curve=LatencyCurve((1,), [(0.5,)]),
            admission=Admission(10, 1_000, levels=3),
        )
        assert borrowed == [backend]
        assert sibling.rules.max_batch_size == 2
        works = [work(value) for value in (1, 2, 3)]
        for each in works:
            sibling.submit([each])
        assert works[0].cost_s == 0.5
        assert [await answer(each) for each in works] == [[2], [4], [6]]
        sibling.stop()
        sibling.close()
        assert not backend.closed
        assert backend.batches == [[1, 2], [3]]

    observed = run([backend], scenario)
    assert observed.batches == [(2, "full"), (1, "idle")]
