"""In any batch, every request gets the same bits as alone: the published models on ONNX Runtime."""

import asyncio
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.batching.work import RequestOptions
from app.contract.golden import Golden
from app.lifecycle.loading.loader import Loader
from app.repository.places import Places
from app.repository.scan import scan
from app.runtime.engines.onnx import OnnxBackend
from app.serving.predictor import predict
from app.telemetry.metrics import Metrics

MODELS = Path(__file__).parents[3] / "models"
NAMES = sorted(scan(Places(MODELS)))


@pytest.fixture(scope="module")
def loop():
    """A batcher belongs to one event loop."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module", params=NAMES)
def loaded(request, tmp_path_factory, loop):
    """A published model whose batches all run in the worker thread, its golden rows, and each row's answer alone."""
    metrics = Metrics()
    models = tmp_path_factory.mktemp("models")
    (models / request.param).mkdir()
    for version in scan(Places(MODELS))[request.param]:
        (models / request.param / str(version)).symlink_to(MODELS / request.param / str(version))
    (models / request.param / "serving.json").write_text('{"batching": {"max_batch_size": 8, "max_queue_s": 3600}}')
    loader = Loader(
        places=Places(models),
        make_backend=OnnxBackend,
        threads=2,
        observer_for=metrics.for_version,
        inline_below_s=0.0,
        pixel_limit=10**6,
        clock=time.perf_counter,
    )
    name, version = request.param, scan(Places(MODELS))[request.param][0]
    model = loader.load(name, version)
    golden = Golden.read(MODELS / name / str(version)).inputs
    rows = [{key: values[i : i + 1] for key, values in golden.items()} for i in range(len(next(iter(golden.values()))))]
    alone = loop.run(one_by_one(model, rows))
    yield model, rows, alone, metrics.for_version(name, version)
    model.batcher.close()


async def one_by_one(model, rows):
    return [(await predict(model, row, clock=time.perf_counter)).outputs for row in rows]


def joined(rows):
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


async def all_at_once(model, rows, requests):
    async def ask(delay, priority, chosen):
        for _ in range(delay):
            await asyncio.sleep(0)
        options = RequestOptions(priority=priority)
        return (await predict(model, joined([rows[i] for i in chosen]), options, clock=time.perf_counter)).outputs

    return await asyncio.gather(*(ask(*request) for request in requests))


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    requests=st.lists(
        st.tuples(st.integers(0, 30), st.integers(0, 3), st.lists(st.integers(0, 63), min_size=1, max_size=12)),
        min_size=1,
        max_size=40,
    )
)
def test_random_interleavings_give_the_bits_of_single_requests(loaded, loop, requests):
    model, rows, alone, _ = loaded
    answers = loop.run(all_at_once(model, rows, requests))
    for (_, _, chosen), answer in zip(requests, answers, strict=True):
        for name, values in answer.items():
            want = np.concatenate([alone[i][name] for i in chosen])
            assert values.tobytes() == want.tobytes()


def test_the_batches_of_these_tests_were_shared_indeed(loaded, loop):
    model, rows, alone, metrics = loaded
    answers = loop.run(all_at_once(model, rows, [(0, 0, [i]) for i in range(64)]))
    assert all(
        answer[name].tobytes() == alone[i][name].tobytes() for i, answer in enumerate(answers) for name in answer
    )
    metrics.fold()
    assert max(metrics.by_batch_size) > 1
    if len(model.batcher.rules.length_buckets) > 1:  # texts of every length wait at the same time
        assert metrics.closed.get("bucket", 0) > 0
