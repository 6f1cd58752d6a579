"""A version that was unloaded or replaced is freed without the cyclic garbage collector."""

import asyncio
import gc
import json
import time
import weakref
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from onnxruntime import InferenceSession

from app.contract.golden import Golden
from app.contract.manifest import write_manifest
from app.errors import InvalidInput, VersionRefused
from app.lifecycle.draining import drain
from app.loaded import LoadedModel
from app.runtime.devices import Device
from app.runtime.placement import Placer
from app.serving.predictor import predict
from app.settings import Settings
from app.telemetry.metrics import Metrics
from app.wiring.assembly import build_lifecycle
from tests.support.fakes import until
from tests.support.tiny_models import SIDE, write_brightness_model, write_words_model


@contextmanager
def no_collector():
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def parts_of(model: LoadedModel) -> dict[str, weakref.ref]:
    """Weak references to everything large in a version, and to what refers to it."""
    instance = model.instances.all[0]
    parts = {"version": model, "batcher": model.batcher, "thread": instance.thread, "curve": model.curve}
    parts |= {"backend": instance.backend, "session": instance.backend.session}
    if model.tokenizer is not None:
        parts["tokenizer"] = model.tokenizer
    return {name: weakref.ref(part) for name, part in parts.items()}


def alive(parts: dict[str, weakref.ref]) -> list[str]:
    return [name for name, part in parts.items() if part() is not None]


async def until_freed(left):
    """Wait until all are freed: a thread releases a call a moment after its result is available."""
    deadline = time.monotonic() + 10
    while found := left():
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.01)


def count(kind: type) -> int:
    return sum(isinstance(each, kind) for each in gc.get_objects())


async def ask(model: LoadedModel) -> None:
    """A good request, and one whose client leaves."""
    inputs = {"pixels": np.zeros((1, SIDE, SIDE), np.uint8)}
    if model.tokenizer is not None:
        inputs = {"token_ids": model.instance_from_text("good film")[np.newaxis]}
        with pytest.raises(InvalidInput):
            model.instance_from_text("")
    with model.leases:
        await predict(model, inputs, clock=time.perf_counter)
        left = asyncio.ensure_future(predict(model, inputs, clock=time.perf_counter))
        await asyncio.sleep(0)
        left.cancel()
        await asyncio.gather(left, return_exceptions=True)
        await model.batcher.drained()


@pytest.fixture
def models(tmp_path):
    write_brightness_model(tmp_path)
    write_words_model(tmp_path)
    return tmp_path


@pytest.fixture
def lifecycle(models):
    return build_lifecycle(Settings(models_dir=models), Metrics(), Placer(lambda: [Device("cpu", "", True, "")]))


def run(lifecycle, scenario):
    async def main():
        await lifecycle.load_all()
        with no_collector():
            await scenario()
        await drain(lifecycle.registry, 5)

    asyncio.run(main())


def policy(models, name, document):
    (models / name / "serving.json").write_text(json.dumps(document))


@pytest.mark.parametrize("name", ["brightness", "words"])
def test_an_unloaded_version_is_freed(lifecycle, name):
    async def scenario():
        await ask(lifecycle.registry.get(name))
        parts = parts_of(lifecycle.registry.get(name))
        await lifecycle.unload(name, timeout_s=5)
        await until_freed(lambda: alive(parts))

    run(lifecycle, scenario)


def test_a_version_that_a_newer_one_replaced_is_freed(lifecycle, models):
    async def scenario():
        await ask(lifecycle.registry.get("words"))
        parts = parts_of(lifecycle.registry.get("words"))
        write_words_model(models, version=2)
        await lifecycle.load("words")
        assert lifecycle.registry.get("words").version == 2
        await until_freed(lambda: alive(parts))

    run(lifecycle, scenario)


@pytest.mark.parametrize("batching", [{"max_batch_size": 2}, {"max_queue_delay_us": 500}])
def test_a_version_that_was_loaded_again_with_other_settings_is_freed(lifecycle, models, batching):
    async def scenario():
        await ask(lifecycle.registry.get("brightness"))
        parts = parts_of(lifecycle.registry.get("brightness"))
        policy(models, "brightness", {"batching": batching})
        await lifecycle.load("brightness")
        assert lifecycle.registry.get("brightness").batching.model_dump(include=set(batching)) == batching
        await until_freed(lambda: alive(parts))

    run(lifecycle, scenario)


def test_a_canary_that_was_tried_and_given_up_is_freed(lifecycle, models):
    async def scenario():
        write_brightness_model(models, version=2)
        labels = {"stable": 1, "canary": 2}
        policy(models, "brightness", {"version_labels": labels, "rollout": {"canary": {"percent": 50}, "shadow": {}}})
        await lifecycle.load("brightness")
        rollout = lifecycle.registry.rollout("brightness")
        for _ in range(4):
            await ask(rollout.canary)
        inputs = {"pixels": np.zeros((1, SIDE, SIDE), np.uint8)}
        rollout.copy(inputs, await predict(rollout.stable, inputs, clock=time.perf_counter))
        comparison = rollout.comparison
        await until(lambda: comparison.copies)
        parts, known = parts_of(rollout.canary), weakref.ref(rollout)
        del rollout
        policy(models, "brightness", {"version_policy": {"specific": {"versions": [1]}}})
        await lifecycle.load("brightness")
        await until_freed(lambda: alive(parts))
        assert known() is None

    run(lifecycle, scenario)


def test_golden_samples_are_freed_once_a_version_is_loaded_or_refused(lifecycle, models):
    async def scenario():
        before = {kind.__name__: count(kind) for kind in (Golden, InferenceSession)}
        write_brightness_model(models, version=2)
        path = write_brightness_model(models, version=3) / "golden.npz"
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(VersionRefused):
            await lifecycle.load("brightness")
        path = write_brightness_model(models, version=4)
        golden = Golden.read(path)
        replace(golden, outputs={name: 1 - values for name, values in golden.outputs.items()}).write(path)
        del golden
        write_manifest(path)
        with pytest.raises(VersionRefused):
            await lifecycle.load("brightness")
        assert lifecycle.registry.get("brightness").version == 2
        await until_freed(lambda: count(Golden) - before["Golden"])
        await until_freed(lambda: count(InferenceSession) - before["InferenceSession"])  # one freed, one created

    run(lifecycle, scenario)
