"""The life of the process that runs a SavedModel, with a process that needs no TensorFlow."""

import math
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from app.contract.model_spec import ModelSpec
from app.errors import BackendDown, BackendFailed, BackendHung, VersionRefused
from app.runtime.engines.model_process import STOP_TIMEOUT_S
from app.runtime.engines.restarts import RESTART_WINDOW_S, RESTARTS
from app.runtime.engines.savedmodel import SavedModelBackend
from tests.support.fakes import FakeClock
from tests.support.processes import is_known, is_running
from tests.support.service import ROOT, wait_until
from tests.support.stub_worker import CANNOT_LOAD, DEADLY, ENDLESS, NEVER_READY, REFUSED
from tests.support.tiny_models import write_brightness_model, write_rule_model

STUB = (sys.executable, "-m", "tests.support.stub_worker")
# Opens a backend in a separate process, prints the number of its process, and starts a batch that never ends.
PARENT = """
import sys, threading
from pathlib import Path
import numpy as np
from app.contract.model_spec import ModelSpec
from app.runtime.engines.savedmodel import SavedModelBackend
path = Path(sys.argv[1])
backend = SavedModelBackend(path, ModelSpec.read(path.parent), 1, command=sys.argv[3:])
print(backend.pid, flush=True)
backend.run({"x": np.array([[float(sys.argv[2])]], np.float32)})
threading.Event().wait()
"""


@pytest.fixture
def directory(tmp_path):
    written = write_rule_model(tmp_path)
    (written / "saved_model.pb").write_bytes(b"what the stub does not read")
    return written


@pytest.fixture
def start(directory):
    """Opens backends and closes them."""
    opened = []

    def begin(**options):
        path = directory / "saved_model.pb"
        opened.append(SavedModelBackend(path, ModelSpec.read(directory), 1, **{"command": STUB, **options}))
        return opened[-1]

    yield begin
    for backend in opened:
        backend.close()


def x(*values):
    return {"x": np.array(values, np.float32).reshape(-1, 1)}


def test_it_answers_and_only_refused_batches_fail(start):
    backend = start()
    assert backend.run(x(1, 2, 3))["values"].tolist() == [[1], [3], [5]]
    with pytest.raises(BackendFailed, match="TensorFlow: this is refused"):
        backend.run(x(1, REFUSED))
    assert backend.run(x(4))["values"].tolist() == [[7]]


def test_a_closed_backend_leaves_no_process_and_runs_no_more(start):
    backend = start()
    pid = backend.pid
    assert is_running(pid)
    backend.close()
    assert not is_known(pid)
    with pytest.raises(BackendFailed, match="closed"):
        backend.run(x(1))
    backend.close()


def test_a_process_that_keeps_dying_is_restarted_a_few_times_within_a_while(start):
    clock = FakeClock()
    backend = start(clock=clock)
    pids = set()
    for _ in range(RESTARTS + 1):
        with pytest.raises(BackendFailed, match="ended while it ran this batch: SIGKILL"):
            backend.run(x(DEADLY))
        pids.add(backend.pid)
    assert len(pids) == RESTARTS + 1
    assert backend.down_for_s == RESTART_WINDOW_S
    with pytest.raises(
        BackendDown, match=f"restarted {RESTARTS} times within 60 s; the next attempt is in 60 s"
    ) as error:
        backend.run(x(1))
    assert error.value.retry_after_s == 60
    clock.now += RESTART_WINDOW_S
    assert backend.down_for_s == 0
    assert backend.run(x(1))["values"].tolist() == [[1]]
    assert not any(is_known(pid) for pid in pids)


def test_a_process_that_cannot_be_started_again_fails_batches_until_it_can(start, directory):
    backend = start()
    (directory / CANNOT_LOAD).touch()
    with pytest.raises(BackendFailed, match="SIGKILL"):
        backend.run(x(DEADLY))
    with pytest.raises(BackendFailed, match=r"cannot be restarted: .*saved_model\.pb: this cannot be loaded"):
        backend.run(x(1))
    (directory / CANNOT_LOAD).unlink()
    assert backend.run(x(1))["values"].tolist() == [[1]]


@pytest.mark.parametrize("how", ["stopped", "in a batch"])
def test_a_process_that_hangs_is_killed_after_the_limit_and_the_next_batch_has_another(start, how):
    backend = start(batch_limit_s=0.3)
    pid = backend.pid
    if how == "stopped":
        os.kill(pid, signal.SIGSTOP)
    with pytest.raises(BackendHung, match=r"did not answer a batch of 2 instances within its limit of 0.3 s and was"):
        backend.run(x(1, ENDLESS))
    assert not is_known(pid)
    assert backend.run(x(4))["values"].tolist() == [[7]]
    assert backend.pid != pid


def test_a_frame_larger_than_the_socket_buffer_to_a_stopped_process_times_out(start):
    backend = start(batch_limit_s=0.3)
    os.kill(backend.pid, signal.SIGSTOP)
    with pytest.raises(BackendHung, match=r"of 1000000 instances within its limit of 0.3 s"):
        backend.run(x(*range(10**6)))


def test_a_process_that_keeps_hanging_is_restarted_a_few_times_within_a_while(start):
    clock = FakeClock()
    backend = start(clock=clock, batch_limit_s=0.05)
    for _ in range(RESTARTS + 1):
        with pytest.raises(BackendHung):
            backend.run(x(ENDLESS))
    with pytest.raises(BackendFailed, match=rf"ended \(SIGKILL\) and was restarted {RESTARTS} times"):
        backend.run(x(1))


def test_a_version_has_its_own_limit_and_the_first_batch_of_a_process_as_long_as_any(start):
    backend = start(batch_limit_s=0.5)
    assert backend.run(x(1))["values"].tolist() == [[1]]
    backend.limit_calls(0.05)
    for limit_s in ("0.05", "0.5"):  # the second batch has another process
        with pytest.raises(BackendHung, match=f"within its limit of {limit_s} s"):
            backend.run(x(ENDLESS))


@pytest.mark.parametrize("limit_s", [math.inf, 1e9])
def test_there_may_be_no_limit(start, limit_s):
    backend = start(batch_limit_s=0.05)
    assert backend.run(x(1))["values"].tolist() == [[1]]
    backend.limit_calls(limit_s)
    os.kill(backend.pid, signal.SIGSTOP)
    threading.Timer(0.3, os.kill, (backend.pid, signal.SIGCONT)).start()
    assert backend.run(x(4))["values"].tolist() == [[7]]


def test_a_process_that_hangs_while_it_is_started_again_fails_the_batch(start, directory):
    backend = start(start_timeout_s=4)
    with pytest.raises(BackendFailed, match="SIGKILL"):
        backend.run(x(DEADLY))
    (directory / NEVER_READY).touch()
    with pytest.raises(BackendHung, match=r"cannot be restarted: .*TensorFlow has not loaded it within 4 s"):
        backend.run(x(1))


def test_closing_does_not_wait_for_a_stopped_process(start):
    backend = start()
    os.kill(backend.pid, signal.SIGSTOP)
    started = time.monotonic()
    backend.close()
    assert time.monotonic() - started < 2 * STOP_TIMEOUT_S
    assert not is_known(backend.pid)


def test_the_process_ignores_signals_to_the_whole_process_group(start):
    backend = start()
    pid = backend.pid
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(pid, number)
    assert backend.run(x(1))["values"].tolist() == [[1]]
    assert backend.pid == pid


@pytest.mark.parametrize("value", [1.0, ENDLESS], ids=["at rest", "in a batch"])
def test_the_process_ends_with_the_one_that_started_it(directory, value):
    command = [sys.executable, "-c", PARENT, str(directory / "saved_model.pb"), str(value), *STUB]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as parent:
        pid = int(parent.stdout.readline())
        assert is_running(pid)
        parent.kill()
    wait_until(lambda: not is_running(pid))


def test_a_model_that_does_not_load_in_time_is_refused(start, directory):
    (directory / NEVER_READY).touch()
    with pytest.raises(VersionRefused, match=r"saved_model.pb: TensorFlow has not loaded it within 0.2 s"):
        start(start_timeout_s=0.2)


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (STUB, "saved_model.pb: this cannot be loaded"),
        ((sys.executable, "-c", "import sys; sys.exit('no such luck')"), "while it loaded: exit code 1: no such luck"),
        ((sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"), "while it loaded: SIGKILL"),
    ],
    ids=["says why", "ends", "dies"],
)
def test_a_model_that_does_not_load_is_refused(start, directory, command, reason):
    (directory / CANNOT_LOAD).touch()
    with pytest.raises(VersionRefused, match=reason):
        start(command=command)


def test_a_version_without_a_savedmodel_is_refused(tmp_path):
    directory = write_brightness_model(tmp_path)
    with pytest.raises(VersionRefused, match=r"saved_model.pb: the file does not exist"):
        SavedModelBackend(directory / "saved_model.pb", ModelSpec.read(directory), 1)


def test_without_tensorflow_the_error_names_what_to_install(start, tmp_path, monkeypatch):
    (tmp_path / "tensorflow.py").write_text("raise ModuleNotFoundError(\"No module named 'tensorflow'\")")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    # Another command than that of the service: a template of an earlier test has imported TensorFlow.
    worker = (sys.executable, "-B", "-m", "app.runtime.engines.savedmodel_worker")
    with pytest.raises(VersionRefused, match=r"No module named 'tensorflow'.*make serve SAVEDMODEL=1"):
        start(command=worker)


@pytest.mark.parametrize(
    "inputs",
    [
        {},
        {"y": np.ones((1, 1), np.float32)},
        {"x": np.float32(1)},
        {"x": np.ones((1, 2), np.float32)},
        {"x": np.ones((1, 1))},
    ],
    ids=["none", "other name", "scalar", "other size", "other dtype"],
)
def test_inputs_that_break_the_contract_do_not_reach_the_process(start, inputs):
    backend = start()
    with pytest.raises(BackendFailed, match="the signature requires"):
        backend.run(inputs)
