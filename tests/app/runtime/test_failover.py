"""Every request is answered correctly, with any failure of a GPU."""

import asyncio
import logging
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import BackendFailed, DeviceFault, VersionRefused
from app.runtime.failover import LONGEST_BACKOFF_S, Condition, FailoverBackend, is_device_fault, is_out_of_memory
from tests.support.fakes import FakeBackend, FakeClock, FaultyGpu, Observed, make_batcher, make_work

# Built from the format strings in ONNX Runtime 1.31's libraries, not observed on a GPU.
OUT_OF_MEMORY = (
    "ONNX Runtime: [ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running MatMul. "
    "Failed to allocate memory for requested buffer of size 1073741824"
)
DEAD = (
    "ONNX Runtime: [ONNXRuntimeError] : 1 : FAIL : CUDA failure 700: an illegal memory access was encountered ; "
    "GPU=0 ; hostname=h ; file=/onnxruntime_src/cuda_call.cc ; line=1 ; expr=cudaStreamSynchronize(stream); "
)


class Guarded:
    """A failover backend over fakes."""

    def __init__(self, fault, *, spare=None):
        self.clock = FakeClock()
        self.condition = Condition()
        self.gpu = FaultyGpu(fault)
        self.opened = []
        self.released = []

        def open_spare():
            if isinstance(spare, Exception):
                raise spare
            self.opened.append(FakeBackend())
            return self.opened[-1]

        self.backend = FailoverBackend(
            self.gpu,
            open_spare,
            self.condition,
            name="model m on cuda:0",
            clock=self.clock,
            on_close=lambda: self.released.append(1),
        )

    def run(self, *values):
        x = np.array(values, np.float32).reshape(-1, 1)
        return self.backend.run({"x": x})["y"][:, 0].tolist()

    @property
    def on_cpu(self):
        return [batch for spare in self.opened for batch in spare.batches]


@pytest.mark.parametrize(
    ("text", "fault", "memory"),
    [
        (OUT_OF_MEMORY, True, True),
        (DEAD, True, False),
        ("ONNX Runtime: CUDA failure 2: out of memory ; GPU=0 ; hostname=h", True, True),
        ("ONNX Runtime: CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0 ; hostname=h", True, True),
        ("ONNX Runtime: CUDNN failure 5000: CUDNN_STATUS_EXECUTION_FAILED ; GPU=0 ; hostname=h", True, False),
        ("ONNX Runtime: Available memory of 1 is smaller than requested bytes of 2", True, True),
        ("ONNX Runtime: [ONNXRuntimeError] : 11 : EP_FAIL : Non-zero status code", True, False),
        (
            "ONNX Runtime: Non-zero status code returned while running Gather node. Name:'' idx=99 out of bounds",
            False,
            False,
        ),
        ("output 'y' has 3 rows for 4 instances", False, False),
    ],
)
def test_faults_of_the_device_are_distinguished_from_those_of_the_model(text, fault, memory):
    assert is_device_fault(BackendFailed(text)) is fault
    assert is_out_of_memory(BackendFailed(text)) is memory
    assert is_device_fault(DeviceFault(text))


def test_a_healthy_device_runs_everything_and_no_spare_is_opened():
    guarded = Guarded(lambda rows, call: None)
    assert guarded.run(1, 2, 3) == [2, 4, 6]
    assert guarded.gpu.batches == [[1, 2, 3]]
    assert guarded.opened == []
    assert guarded.backend.provider == "CUDAExecutionProvider"


def test_a_batch_that_does_not_fit_into_memory_runs_in_halves_until_one_as_large_fits_again():
    guarded = Guarded(lambda rows, call: OUT_OF_MEMORY if rows > 2 and guarded.clock.now < 105 else None)
    assert guarded.run(1, 2, 3, 4) == [2, 4, 6, 8]
    assert guarded.gpu.batches == [[1, 2], [3, 4]]
    assert guarded.condition.degraded.endswith("buffer of size 1073741824; it gets smaller batches")
    assert guarded.condition.faults == 1
    assert guarded.run(5, 6, 7) == [10, 12, 14]  # not tried as one batch before the backoff is over
    assert guarded.gpu.batches[2:] == [[5, 6], [7]]
    assert guarded.gpu.calls == 5
    guarded.clock.now += 1.5
    assert guarded.run(1, 2, 3, 4) == [2, 4, 6, 8]
    assert guarded.condition.faults == 2
    guarded.clock.now += 4
    assert guarded.run(8) == [16]
    assert guarded.condition.degraded, "one row proves nothing"
    assert guarded.run(1, 2, 3, 4) == [2, 4, 6, 8]
    assert guarded.condition.degraded == ""
    assert guarded.on_cpu == []


def test_a_dead_device_is_replaced_by_the_cpu_and_tried_again_less_and_less_often(caplog):
    caplog.set_level(logging.INFO, "atelier.devices")
    guarded = Guarded(lambda rows, call: DEAD)
    assert guarded.run(1, 2, 3, 4) == [2, 4, 6, 8]
    assert guarded.on_cpu == [[1, 2, 3, 4]]
    assert guarded.gpu.calls == 2  # whole, and the first half
    assert guarded.condition.degraded == (
        "ONNX Runtime: [ONNXRuntimeError] : 1 : FAIL : CUDA failure 700: an illegal memory access was encountered; "
        "the CPU takes over"
    )
    assert caplog.records[0].levelname == "ERROR"
    assert caplog.records[0].message.startswith("model m on cuda:0 is degraded: ONNX Runtime: ")
    calls = []
    for _ in range(400):
        guarded.clock.now += 0.5
        before = guarded.gpu.calls
        assert guarded.run(1) == [2]
        if guarded.gpu.calls != before:
            calls.append(guarded.clock.now)
    waits = np.diff([100.0, *calls])
    assert waits.tolist() == [1, 2, 4, 8, 16, 32, LONGEST_BACKOFF_S, LONGEST_BACKOFF_S][: len(waits)]
    assert len(guarded.opened) == 1


def test_a_recovered_device_is_used_again_and_its_next_fault_counts_as_the_first(caplog):
    guarded = Guarded(lambda rows, call: DEAD if guarded.clock.now < 110 or guarded.clock.now > 200 else None)
    guarded.run(1)
    guarded.clock.now += 30
    with caplog.at_level(logging.INFO, "atelier.devices"):
        assert guarded.run(1, 2) == [2, 4]
    assert guarded.gpu.batches == [[1, 2]]
    assert (guarded.condition.degraded, guarded.condition.faults) == ("", 2)
    assert caplog.messages[-1] == "model m on cuda:0 has recovered"
    guarded.clock.now = 300.0
    guarded.run(1)
    assert caplog.records[-1].message.endswith("next attempt in 1 s")


def test_a_bad_input_is_not_a_device_fault():
    guarded = Guarded(lambda rows, call: "index 99 is out of bounds")
    with pytest.raises(BackendFailed, match="out of bounds"):
        guarded.run(1, 2)
    assert guarded.condition == Condition()
    assert guarded.gpu.calls == 1


def test_without_a_cpu_to_take_over_both_reasons_are_reported():
    guarded = Guarded(lambda rows, call: DEAD, spare=VersionRefused("model.onnx is gone"))
    with pytest.raises(BackendFailed, match=r"CUDA failure 700.*the CPU cannot take over: model.onnx is gone"):
        guarded.run(1)


def test_the_state_shows_that_the_spare_is_being_opened_and_that_it_is_open():
    condition, clock, seen = Condition(), FakeClock(), []

    def open_spare():
        seen.append(condition.spare_at)
        clock.now += 7
        return FakeBackend()

    backend = FailoverBackend(FaultyGpu(lambda *_: DEAD), open_spare, condition, name="model m on cuda:0", clock=clock)
    started = clock.now
    backend.run({"x": np.ones((1, 1), np.float32)})
    assert (seen, condition.spare_at) == ([math.inf], started + 7)


def test_closing_closes_both_and_frees_the_place():
    guarded = Guarded(lambda rows, call: DEAD)
    guarded.run(1)
    guarded.backend.close()
    assert guarded.gpu.closed
    assert guarded.opened[0].closed
    assert guarded.released == [1]


def above(limit):
    return lambda rows, call: OUT_OF_MEMORY if rows > limit else None


def dead_between(first, last):
    return lambda rows, call: DEAD if first <= call < last else None


def every(k):
    return lambda rows, call: DEAD if call % k == k - 1 else None


def drawn(faults):
    return lambda rows, call: (DEAD, OUT_OF_MEMORY, None, None)[faults[call % len(faults)]]


FAULTS = st.one_of(
    st.integers(0, 9).map(above),
    st.tuples(st.integers(0, 20), st.integers(0, 60)).map(lambda pair: dead_between(*pair)),
    st.integers(1, 7).map(every),
    st.lists(st.integers(0, 3), min_size=1, max_size=12).map(drawn),
)


@settings(max_examples=150, deadline=None)
@given(
    fault=FAULTS,
    sizes=st.lists(st.integers(1, 8), min_size=1, max_size=30),
    steps=st.lists(st.sampled_from([0.0, 0.3, 1.0, 5.0]), min_size=1, max_size=5),
    inline=st.booleans(),
)
def test_through_the_batcher_no_work_is_lost_and_every_row_is_right(fault, sizes, steps, inline):
    guarded = Guarded(fault)

    async def main():
        loop, clock = asyncio.get_running_loop(), guarded.clock
        batcher = make_batcher(
            guarded.backend, clock=clock, observed=Observed(), inline=inline, max_batch_size=8, rows=10_000
        )
        works = []
        for i, size in enumerate(sizes):
            clock.now += steps[i % len(steps)]
            values = [float(100 * i + j) for j in range(size)]
            works.append((values, make_work(loop, *values, now=clock.now, timeout_s=1e6)))
            batcher.submit([works[-1][1]])
            if i % 3 == 2:
                await asyncio.sleep(0)
        answers = await asyncio.wait_for(asyncio.gather(*(work.future for _, work in works)), 10)
        for (values, _), answer in zip(works, answers, strict=True):
            assert answer["y"][:, 0].tolist() == [2 * value for value in values]
        batcher.close()

    asyncio.run(main())
    assert guarded.gpu.closed
    ran = sorted(value for batch in guarded.gpu.batches + guarded.on_cpu for value in batch)
    assert set(ran) == {100.0 * i + j for i, size in enumerate(sizes) for j in range(size)}
