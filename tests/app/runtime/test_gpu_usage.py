"""Readings of GPUs, from a library that replaces the driver's."""

import threading
import time

import pytest

from app.runtime import gpu_usage as module
from app.runtime.gpu_usage import GpuMeter, GpuUsage
from tests.support.fakes import FakeClock
from tests.support.nvml import pynvml

GIB = pynvml.GIB
FIRST = GpuUsage(
    name="cuda:0",
    uuid="GPU-aaaa1111",
    memory_total_bytes=8 * GIB,
    memory_used_bytes=GIB,
    utilization=0.4,
    power_w=70.5,
)
SECOND = GpuUsage(
    name="cuda:1",
    uuid="GPU-bbbb2222",
    memory_total_bytes=8 * GIB,
    memory_used_bytes=2 * GIB,
    utilization=None,
    power_w=None,
)


@pytest.fixture
def nvml(monkeypatch):
    monkeypatch.setattr(module, "pynvml", pynvml)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return monkeypatch


def test_values_that_the_driver_does_not_report_are_none(nvml):
    assert GpuMeter().read() == [FIRST, SECOND]
    assert FIRST.memory_in_words == "1.0 of 8.0 GiB in use"


def test_gpus_have_the_names_that_cuda_gives_them(nvml):
    nvml.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert [(gpu.name, gpu.uuid, gpu.is_visible) for gpu in GpuMeter().read()] == [
        ("gpu 0", "GPU-aaaa1111", False),
        ("cuda:0", "GPU-bbbb2222", True),
    ]


def test_a_gpu_that_fails_later_is_still_listed_without_values(nvml):
    meter = GpuMeter()
    meter.read()
    nvml.setenv("FAKE_NVML_LOST", "1")
    first, _ = meter.read()
    assert (first.name, first.uuid, first.memory_total_bytes, first.power_w) == ("cuda:0", "GPU-aaaa1111", None, None)
    assert first.memory_in_words == ""
    nvml.delenv("FAKE_NVML_LOST")
    assert meter.read() == [FIRST, SECOND]


def test_a_driver_that_hangs_blocks_one_thread_and_one_wait(nvml):
    asked, may_answer = [], threading.Event()
    clock = FakeClock()

    def power(handle):
        asked.append(handle)
        may_answer.wait(30)
        return 70_500

    meter = GpuMeter(limit_s=0.05, clock=clock)
    assert meter.read() == [FIRST, SECOND]
    nvml.setattr(pynvml, "nvmlDeviceGetPowerUsage", power)
    try:
        started = time.monotonic()
        first, second = meter.read()
        assert time.monotonic() - started >= 0.05
        assert (first.name, first.memory_total_bytes, first.power_w) == ("cuda:0", None, None)
        clock.now += 1
        assert [meter.read() for _ in range(100)] == [[first, second]] * 100
        assert asked == [0]
        assert [thread.name for thread in threading.enumerate()].count("gpus") == 1
    finally:
        may_answer.set()
    while "gpus" in [thread.name for thread in threading.enumerate()]:
        time.sleep(0.001)
    assert meter.read()[0] == FIRST


def test_without_an_answer_of_the_driver_at_the_start_there_is_no_gpu(nvml):
    may_answer = threading.Event()
    nvml.setattr(pynvml, "nvmlInit", lambda: may_answer.wait(30))
    meter = GpuMeter(limit_s=0.05)
    try:
        assert meter.read() == []
    finally:
        may_answer.set()
    while "gpus" in [thread.name for thread in threading.enumerate()]:
        time.sleep(0.001)
    assert meter.read() == [FIRST, SECOND]


def test_a_missing_driver_is_queried_once(nvml):
    nvml.setenv("FAKE_NVML_MISSING", "1")
    meter = GpuMeter()
    assert meter.read() == []
    nvml.delenv("FAKE_NVML_MISSING")
    assert meter.read() == []
