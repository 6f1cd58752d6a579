"""Devices, the backend and the latency curve."""

import numpy as np
import pytest

from app.contract.model_spec import ModelSpec
from app.errors import BackendFailed, VersionRefused
from app.runtime.cuda import provider_options
from app.runtime.devices import cpu_threads, probe_devices
from app.runtime.engines.onnx import OnnxBackend
from app.runtime.warmup import LatencyCurve, batch_sizes_up_to, measure_curve
from tests.support.fakes import FakeBackend, FakeClock
from tests.support.tiny_models import write_brightness_model, write_fragile_model


def test_the_curve_is_linear_between_and_proportional_beyond():
    curve = LatencyCurve((1, 2, 4), [(1.0, 2.0, 3.0)])
    assert [curve.estimate(rows) for rows in (1, 2, 3, 4, 8)] == [1.0, 2.0, 2.5, 3.0, 6.0]


def test_calls_that_take_longer_than_at_warm_up_move_the_curve():
    curve = LatencyCurve((1, 2, 4), [(1.0, 2.0, 3.0)])
    for _ in range(100):
        curve.observe(1, 5.0)
        curve.observe(3, 9.0)
    assert curve.estimate(1) == pytest.approx(5.0, rel=0.01)
    assert curve.estimate(3) == pytest.approx(9.0, rel=0.01)
    assert curve.estimate(2) == 2.0


class Takes(FakeBackend):
    """Takes some seconds for each row."""

    def __init__(self, clock, row_s):
        super().__init__()
        self._clock, self._row_s = clock, row_s

    def run(self, inputs):
        self._clock.now += self._row_s * len(inputs["x"])
        return super().run(inputs)


class Disturbed(Takes):
    """Takes much longer once, in the call with this number."""

    def __init__(self, clock, row_s, *, number):
        super().__init__(clock, row_s)
        self._number = number

    def run(self, inputs):
        if len(self.batches) == self._number:
            self._clock.now += 50 * self._row_s
        return super().run(inputs)


@pytest.mark.parametrize("number", range(7))
@pytest.mark.parametrize("budget_s", [0.0, 300.0])
def test_a_call_during_which_another_process_had_the_core_does_not_count(number, budget_s):
    clock = FakeClock()
    backend = Disturbed(clock, 1.0, number=number)
    samples = {"x": np.zeros((1, 1), np.float32)}
    curve = measure_curve(backend, samples, max_batch_size=32, budget_s=budget_s, clock=clock)
    assert curve.seconds[0] <= 2, "no more than the next size"
    assert curve.seconds[1:] == (2, 4, 8, 16, 32)


@pytest.mark.parametrize(
    ("budget_s", "ran", "sizes"),
    [
        (2.0, (16, 24.0), [1, 32]),
        (5.0, (16, 24.0), [1, 32]),
        (15.0, (16, 24.0), [1, 2, 32]),  # 2.5 s a size
        (10.0, (0, 0.0), [1, 2, 4, 8, 16, 32]),
        (1000.0, (16, 24.0), [1, 2, 4, 8, 16, 32]),
    ],
)
def test_slow_sizes_up_to_one_that_has_run_are_estimated(budget_s, ran, sizes):
    clock = FakeClock()
    backend = Takes(clock, 1.0)
    samples = {"x": np.arange(3, dtype=np.float32).reshape(3, 1)}
    curve = measure_curve(backend, samples, max_batch_size=32, budget_s=budget_s, clock=clock, ran=ran)
    assert curve.batch_sizes == (1, 2, 4, 8, 16, 32)
    assert sorted({len(batch) for batch in backend.batches}) == sizes
    most, most_s = sizes[-2], float(sizes[-2])
    if 16 not in sizes:
        slope = (24.0 - most_s) / (16 - most)
        expected = [size if size in sizes else most_s + slope * (size - most) for size in curve.batch_sizes]
        assert list(curve.seconds) == pytest.approx(expected)
    else:
        assert list(curve.seconds) == pytest.approx(curve.batch_sizes)


@pytest.mark.parametrize(("limit", "sizes"), [(1, (1,)), (2, (1, 2)), (8, (1, 2, 4, 8)), (12, (1, 2, 4, 8, 12))])
def test_measured_sizes_end_with_the_largest_batch(limit, sizes):
    assert batch_sizes_up_to(limit) == sizes


def test_every_size_is_run_even_without_a_budget():
    backend = FakeBackend()
    samples = {"x": np.arange(3, dtype=np.float32).reshape(3, 1)}
    curve = measure_curve(backend, samples, max_batch_size=4, budget_s=0, clock=FakeClock())
    assert curve.batch_sizes == (1, 2, 4)
    assert [len(batch) for batch in backend.batches] == [1, 1, 2, 2, 4, 4]
    assert backend.batches[0] == [2]
    assert backend.batches[-1] == [2, 1, 1, 0]


def test_a_graph_that_disagrees_with_its_contract_is_refused(tmp_path):
    directory = write_brightness_model(tmp_path)
    other = ModelSpec.read(write_fragile_model(tmp_path))
    with pytest.raises(VersionRefused, match="the graph's inputs are"):
        OnnxBackend(directory / "model.onnx", other, threads=1)


def test_a_file_that_is_not_a_graph_is_refused(tmp_path):
    directory = write_brightness_model(tmp_path)
    (directory / "model.onnx").write_bytes(b"nonsense")
    with pytest.raises(VersionRefused, match="cannot load the graph"):
        OnnxBackend(directory / "model.onnx", ModelSpec.read(directory), threads=1)


def test_a_gpu_that_does_not_run_the_graph_is_refused_and_never_replaced_in_silence(tmp_path, capsys):
    directory = write_brightness_model(tmp_path)
    options = provider_options("cuda:99", None)
    with pytest.raises(VersionRefused, match=r"with CPUExecutionProvider instead of CUDA|cannot load the graph"):
        OnnxBackend(directory / "model.onnx", ModelSpec.read(directory), threads=1, cuda=options)
    assert capsys.readouterr().out == ""


def test_a_failing_run_is_backend_failed(tmp_path):
    directory = write_fragile_model(tmp_path)
    backend = OnnxBackend(directory / "model.onnx", ModelSpec.read(directory), threads=1)
    assert backend.provider == "CPUExecutionProvider"
    with pytest.raises(BackendFailed, match="Gather"):
        backend.run({"index": np.array([99], np.int32)})


@pytest.mark.parametrize(("quota", "threads"), [("100000 100000", 1), ("50000 100000", 1), ("max 100000", None)])
def test_threads_follow_the_container_quota(tmp_path, quota, threads):
    (tmp_path / "cpu.max").write_text(quota)
    assert cpu_threads(tmp_path) == (threads or cpu_threads(tmp_path / "none"))


def test_the_older_quota_files_are_read_too(tmp_path):
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text("100000")
    (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000")
    assert cpu_threads(tmp_path) == 1


def test_every_device_gives_the_reason():
    devices = probe_devices()
    assert devices[0].name == "cpu"
    assert devices[0].used
    assert all(device.reason for device in devices)
