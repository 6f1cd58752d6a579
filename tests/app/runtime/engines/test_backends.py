"""The contract of every backend, with published models: ONNX Runtime and TensorFlow give the answers of Keras."""

import os
import signal
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from app.contract.golden import Golden
from app.contract.model_spec import ModelSpec
from app.errors import BackendFailed, VersionRefused
from app.lifecycle.loading.golden_gate import replay
from app.runtime.engines import tensor_frames
from app.runtime.engines.onnx import OnnxBackend
from app.runtime.engines.savedmodel import SavedModelBackend
from tests.support.processes import is_known
from tests.support.service import ROOT, wait_until

MODELS = {name: ROOT / "models" / name / "1" for name in ("fashion-mnist-cnn", "gym-schedule-rnn")}
KINDS = {"onnx": (OnnxBackend, "model.onnx"), "savedmodel": (SavedModelBackend, "saved_model.pb")}
WRONG = ["missing", "unknown name", "other dtype", "rank too high", "rank too low", "other size"]


def open_backend(kind: str, directory: Path):
    make, file = KINDS[kind]
    return make(directory / file, ModelSpec.read(directory), 1)


@pytest.fixture(scope="module", params=[(kind, name) for kind in KINDS for name in MODELS], ids="/".join)
def opened(request):
    """A backend, its contract and its golden samples."""
    kind, name = request.param
    backend = open_backend(kind, MODELS[name])
    yield backend, ModelSpec.read(MODELS[name]), Golden.read(MODELS[name])
    backend.close()
    with pytest.raises(BackendFailed):
        backend.run(Golden.read(MODELS[name]).row(0))


def golden_rows(golden, rows):
    """The last rows, so that a mix-up with another batch would be noticed."""
    return {name: np.ascontiguousarray(values[-rows:]) for name, values in golden.inputs.items()}


def test_every_golden_sample_alone_and_unpadded_gives_the_answer_of_keras(opened):
    backend, _, golden = opened
    for row in range(golden.rows):
        for name, values in backend.run(golden.row(row)).items():
            difference = np.abs(values[0] - golden.outputs[name][row]).max()
            assert difference <= golden.tolerance_for(backend.provider)


@pytest.mark.parametrize("rows", [1, 2, 7, 32])
def test_batches_of_every_size_pass_the_golden_gate(opened, rows):
    backend, _, golden = opened
    difference = replay(golden, backend.run, batch_size=rows, provider=backend.provider)
    assert difference <= golden.tolerance_for(backend.provider)


@pytest.mark.parametrize("rows", [1, 2, 7, 32])
def test_outputs_are_those_of_the_signature(opened, rows):
    backend, spec, golden = opened
    outputs = backend.run(golden_rows(golden, rows))
    assert list(outputs) == [tensor.name for tensor in spec.outputs]
    for tensor in spec.outputs:
        values = outputs[tensor.name]
        assert values.dtype == tensor.numpy_dtype
        assert values.shape == (rows, *tensor.shape)
        assert values.flags.c_contiguous


def test_an_answer_does_not_change_when_the_next_batch_runs(opened):
    backend, _, golden = opened
    first = backend.run(golden_rows(golden, 7))
    kept = {name: values.copy() for name, values in first.items()}
    backend.run({name: np.ascontiguousarray(values[:7]) for name, values in golden.inputs.items()})
    for name, values in kept.items():
        np.testing.assert_array_equal(first[name], values)


def _spoilt(kind, name, values):
    """Inputs that break the signature."""
    return {
        "missing": {},
        "unknown name": {name: values, "other": values},
        "other dtype": {name: values.astype(np.float64)},
        "rank too high": {name: values[..., None]},
        "rank too low": {name: np.ascontiguousarray(values.reshape(-1))},
        "other size": {name: np.ascontiguousarray(values[:, 1:])},
    }[kind]


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_input_fails_alone(opened, wrong):
    backend, spec, golden = opened
    [tensor] = spec.inputs
    good = golden_rows(golden, 7)
    before = backend.run(good)
    bad = _spoilt(wrong, tensor.name, good[tensor.name])
    if wrong == "other size" and tensor.is_variable:  # no size is wrong there, but ids beyond the vocabulary are
        bad = {tensor.name: np.full_like(good[tensor.name], tensor.maximum + 100)}
    with pytest.raises(BackendFailed):
        backend.run(bad)
    for name, values in backend.run(good).items():
        np.testing.assert_array_equal(values, before[name])


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_that_disagrees_with_its_contract_is_refused(kind):
    make, file = KINDS[kind]
    other = ModelSpec.read(MODELS["gym-schedule-rnn"])
    with pytest.raises(VersionRefused, match=r"inputs are .*model\.json says"):
        make(MODELS["fashion-mnist-cnn"] / file, other, 1)


@pytest.fixture(scope="module")
def mortal():
    """A backend whose process the tests kill, and a batch."""
    directory = MODELS["gym-schedule-rnn"]
    backend, golden = open_backend("savedmodel", directory), Golden.read(directory)
    yield backend, golden_rows(golden, 32)
    backend.close()
    assert not is_known(backend.pid)


def test_a_process_killed_between_batches_fails_no_batch(mortal):
    backend, batch = mortal
    before, pid = backend.run(batch), backend.pid
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_known(pid))
    for name, values in backend.run(batch).items():
        np.testing.assert_array_equal(values, before[name])
    assert backend.pid != pid
    assert not is_known(pid)


def test_a_process_killed_in_the_midst_of_a_batch_fails_that_batch_alone(mortal):
    backend, batch = mortal
    before, pid = backend.run(batch), backend.pid
    failures = []

    def run():
        try:
            backend.run(batch)
        except BackendFailed as error:
            failures.append(error.message)

    os.kill(pid, signal.SIGSTOP)  # it receives the batch and does not answer
    thread = threading.Thread(target=run)
    thread.start()
    wait_until(lambda: _is_waiting_for_a_frame(thread))
    os.kill(pid, signal.SIGKILL)
    thread.join(30)
    assert len(failures) == 1
    assert "ended while it ran this batch: SIGKILL" in failures[0]
    for name, values in backend.run(batch).items():
        np.testing.assert_array_equal(values, before[name])


def _is_waiting_for_a_frame(thread: threading.Thread) -> bool:
    frame = sys._current_frames().get(thread.ident)
    return frame is not None and frame.f_code is tensor_frames._receive_exactly.__code__
