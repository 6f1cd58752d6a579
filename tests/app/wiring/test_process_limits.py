"""A version in a separate process: a batch that hangs is ended with its process, other versions are not affected."""

import asyncio
import os
import signal
import time
from functools import partial

import pytest

from app.contract.manifest import write_manifest
from app.contract.model_spec import SAVED_MODEL_FILE
from app.control.model_config import model_config
from app.errors import BackendHung
from app.lifecycle.loading.loader import Loader
from app.repository.places import Places
from app.runtime.engines.onnx import OnnxBackend
from app.runtime.engines.process_backend import GRACE_S
from app.runtime.engines.savedmodel import SavedModelBackend
from app.telemetry.metrics import Metrics
from tests.support.fakes import make_work
from tests.support.stub_worker import ENDLESS, STUB
from tests.support.tiny_models import write_rule_model

# Time limit of the first batch of each process.
FIRST_S = 1.0


@pytest.fixture
def load(tmp_path):
    """Loads the rule in a process that replaces TensorFlow's; returns the model and its metrics."""
    directory = write_rule_model(tmp_path)
    (directory / SAVED_MODEL_FILE).touch()
    write_manifest(directory)
    models, metrics = [], Metrics()
    loader = Loader(
        places=Places(tmp_path),
        make_backend=OnnxBackend,
        threads=1,
        observer_for=metrics.for_version,
        inline_below_s=1.0,
        pixel_limit=100,
        clock=time.perf_counter,
        default_backend="savedmodel",
        make_savedmodel=partial(SavedModelBackend, command=STUB, batch_limit_s=FIRST_S),
    )

    def begin(batching):
        (tmp_path / "rule" / "serving.json").write_text(f'{{"batching": {batching}}}')
        models.append(loader.load("rule", 1))
        return models[-1], metrics.for_version("rule", 1)

    yield begin
    for model in models:
        model.batcher.close()


@pytest.mark.parametrize("how", ["stopped", "in a batch"])
def test_only_the_batch_fails_in_which_the_process_hangs(load, how):
    model, counts = load('{"max_execution_ms": 300, "max_batch_size": 1}')

    async def scenario():
        loop, now = asyncio.get_running_loop(), time.perf_counter()
        if how == "stopped":
            os.kill(model.batcher.backend.pid, signal.SIGSTOP)
        stuck, waiting = (make_work(loop, value, now=now, timeout_s=60) for value in (ENDLESS, 3))
        for work in (stuck, waiting):
            model.batcher.submit([work])
        with pytest.raises(BackendHung, match=r"of 1 instances within its limit of 0\.3 s and was killed"):
            await asyncio.wait_for(stuck.future, 30)
        assert model.instances.usable == 1
        assert (await asyncio.wait_for(waiting.future, 30))["values"].tolist() == [[5]]

    asyncio.run(scenario())
    assert not model.instances.all[0].hangs
    assert (counts.hangs, model.instances.hangs) == (1, 1)


def test_the_limit_is_that_of_the_largest_batch_and_the_watchdog_fires_later(load):
    model, _ = load("{}")
    assert model_config(model)["parameters"]["max_execution_ms"]["string_value"] == "30000"
    assert (model.batcher.rules.max_execution_s, model.batcher.rules.grace_s) == (30, GRACE_S)


def test_0_sets_no_limit(load):
    model, _ = load('{"max_execution_ms": 0}')
    assert model_config(model)["parameters"]["max_execution_ms"]["string_value"] == "0"
    os.kill(model.batcher.backend.pid, signal.SIGSTOP)

    async def scenario():
        loop, now = asyncio.get_running_loop(), time.perf_counter()
        model.batcher.submit([patient := make_work(loop, 3, now=now, timeout_s=60)])
        await asyncio.sleep(1.5 * FIRST_S)
        assert not patient.future.done()
        os.kill(model.batcher.backend.pid, signal.SIGCONT)
        assert (await asyncio.wait_for(patient.future, 30))["values"].tolist() == [[5]]

    asyncio.run(scenario())
