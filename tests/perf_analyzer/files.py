"""The models that perf_analyzer measures, and the files that its options name."""

import json
import shutil
import struct
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper

from tests.support.bare_models import write_graph, write_names_model
from tests.support.service import ROOT
from tests.support.tiny_models import write_rule_model

PUBLISHED = ("fashion-mnist-mlp", "imdb-sentiment-lstm")
# One string an instance: perf_analyzer has no instances without dimensions, and Triton completes its settings so, too.
STRINGS = """
max_batch_size: 8
input [{ name: "text" data_type: TYPE_STRING dims: [1] reshape { shape: [] } }]
output [
  { name: "same" data_type: TYPE_STRING dims: [1] reshape { shape: [] } },
  { name: "agrees" data_type: TYPE_BOOL dims: [1] reshape { shape: [] } }
]
"""


def write_models(models: Path) -> None:
    """Published models of images and texts, and small ones: numbers, strings, ids of any length, images of any size."""
    for name in PUBLISHED:
        shutil.copytree(ROOT / "models" / name, models / name)
    write_rule_model(models)
    (models / "rule" / "serving.json").write_text('{"version_labels": {"steady": 1}}')
    write_names_model(models, "strings")
    (models / "strings" / "config.pbtxt").write_text(STRINGS)
    write_graph(
        models,
        "ids",
        [
            helper.make_node("Gather", ["table", "ids"], ["rows"], axis=0),
            helper.make_node("ReduceMean", ["rows"], ["mean"], axes=[1], keepdims=0),
        ],
        [("ids", TensorProto.INT64, ["batch", "length"])],
        [("mean", TensorProto.FLOAT, ["batch", 4])],
        {"table": np.arange(200, dtype=np.float32).reshape(50, 4)},
    )
    write_graph(
        models,
        "pictures",
        [helper.make_node("GlobalAveragePool", ["x"], ["mean"])],
        [("x", TensorProto.FLOAT, ["batch", 3, "height", "width"])],
        [("mean", TensorProto.FLOAT, ["batch", 3, 1, 1])],
    )


def write_inputs(directory: Path) -> None:
    """Inputs with the outputs that they must have, others with one that they must not have, and times to send at."""
    numbers = [{"x": [1.5]}, {"x": [-0.5]}]
    _write(directory / "numbers.json", numbers, [{"values": [2.0]}, {"values": [-2.0]}])
    _write(directory / "wrong.json", numbers, [{"values": [2.0]}, {"values": [-2.5]}])
    texts = [{"text": ["a film"]}, {"text": ["yes"]}]
    _write(
        directory / "texts.json", texts, [{"same": ["a film"], "agrees": [False]}, {"same": ["yes"], "agrees": [True]}]
    )
    _write(directory / "tokens.json", [{"token_ids": {"content": [*range(1, n)], "shape": [n - 1]}} for n in (3, 9)])
    (directory / "intervals").write_text("10000\n20000\n")
    (directory / "raw").mkdir()
    (directory / "raw" / "x").write_bytes(struct.pack("<f", 1.5))


def _write(path: Path, data: list[object], expected: list[object] | None = None) -> None:
    path.write_text(json.dumps({"data": data} if expected is None else {"data": data, "validation_data": expected}))
