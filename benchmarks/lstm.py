"""Compares the fused ONNX operators, to which training/export/recurrent_layers.py converts LSTM and GRU, with loops."""

import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

VOCABULARY, EMBEDDING, CLASSES = 20_002, 32, 2
SHAPES = ((1, 16), (1, 128), (1, 256), (8, 128), (32, 128), (32, 256))
# (layer, units, bidirectional)
NETWORKS = {
    "LSTM, 64 units": ("LSTM", 64, False),
    "bidirectional LSTM, 2 x 32 units": ("LSTM", 32, True),
    "GRU, 64 units": ("GRU", 64, False),
    "bidirectional GRU, 2 x 32 units": ("GRU", 32, True),
}

Run = Callable[[np.ndarray], Any]


@dataclass(frozen=True)
class Comparison:
    """One shape of one network.

    Attributes:
        loop_ms, fused_ms: medians over the repeats, one thread.
        ratio: median over the repeats of loop against fused, both measured in the same repeat.
        low, high: smallest and largest of these ratios.
    """

    network: str
    rows: int
    tokens: int
    loop_ms: float
    fused_ms: float
    ratio: float
    low: float
    high: float


def compare_lstm(*, repeats: int) -> list[Comparison]:
    """Build, convert both ways, and measure in random order; rows have all lengths up to the longest."""
    order = random.Random(0)
    found = []
    for network, (layer, units, bidirectional) in NETWORKS.items():
        loop, fused = _converted(layer, units, bidirectional=bidirectional)
        for rows, tokens in SHAPES:
            ids = _texts(rows, tokens)
            if np.abs(loop(ids) - fused(ids)).max() > 1e-5:
                raise RuntimeError(f"{network}, {rows} x {tokens}: the answers of the two graphs differ")
            times: dict[Run, list[float]] = {loop: [], fused: []}
            for _ in range(repeats):
                for run in order.sample([loop, fused], 2):
                    times[run].append(_milliseconds(run, ids))
            ratios = [slow / fast for slow, fast in zip(times[loop], times[fused], strict=True)]
            found.append(
                Comparison(
                    network,
                    rows,
                    tokens,
                    median(times[loop]),
                    median(times[fused]),
                    median(ratios),
                    min(ratios),
                    max(ratios),
                )
            )
    return found


def _milliseconds(run: Run, ids: np.ndarray, *, least_s: float = 0.05) -> float:
    """Mean time of a call, over at least ``least_s`` seconds of calls."""
    calls, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < least_s:
        run(ids)
        calls += 1
    return spent / calls * 1e3


def _texts(rows: int, tokens: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    ids = rng.integers(2, VOCABULARY, (rows, tokens)).astype(np.int32)
    for row in range(1, rows):
        ids[row, max(1, tokens * row // rows) :] = 0
    return ids


def _converted(layer: str, units: int, *, bidirectional: bool) -> tuple[Run, Run]:
    """The same masked network as the converter makes it, and as it is published."""
    from training.environment import quiet_tensorflow

    quiet_tensorflow()
    import tensorflow as tf
    import tf2onnx
    import tf_keras
    from tf_keras import layers

    from app.contract.model_spec import ModelSpec
    from app.contract.steps import TextPreprocessing
    from app.contract.tensor_spec import TensorSpec
    from training.export.model_export import OPSET, export_onnx

    tf_keras.utils.set_random_seed(0)
    token_ids = layers.Input((None,), dtype="int32", name="token_ids")
    one_way = getattr(layers, layer)(units)
    recurrent = layers.Bidirectional(one_way) if bidirectional else one_way
    x = recurrent(layers.Embedding(VOCABULARY, EMBEDDING, mask_zero=True)(token_ids))
    model = tf_keras.Model(token_ids, layers.Dense(CLASSES, activation="softmax", name="probabilities")(x))
    spec = ModelSpec(
        name="benchmark",
        inputs=(TensorSpec(name="token_ids", dtype="int32", shape=(-1,), minimum=0, maximum=VOCABULARY - 1),),
        outputs=(TensorSpec(name="probabilities", dtype="float32", shape=(CLASSES,)),),
        preprocessing=TextPreprocessing(input="token_ids", max_length=SHAPES[-1][1], keep="last"),
        opset=OPSET,
        trained_on="nothing",
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        export_onnx(model, spec, path)
        fused = path.read_bytes()
    signature = [tf.TensorSpec([None, None], tf.int32, name="token_ids")]
    masked = tf.function(lambda ids: {"probabilities": model(ids)}, input_signature=signature)
    proto, _ = tf2onnx.convert.from_function(masked, input_signature=signature, opset=OPSET)
    if "Loop" not in {node.op_type for node in proto.graph.node}:
        raise RuntimeError("the converter no longer makes a Loop: there is nothing to compare with")
    return _runner(proto.SerializeToString()), _runner(fused)


def _runner(graph: bytes) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(graph, sess_options=options, providers=["CPUExecutionProvider"])
    return lambda ids: session.run(["probabilities"], {"token_ids": ids})[0]
