"""Complete model versions of a few weights, written without TensorFlow, for tests of the service."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from app.contract.golden import Golden, RawSample
from app.contract.manifest import write_manifest
from app.contract.model_spec import ONNX_FILE, ModelSpec
from app.contract.steps import (
    BatchingHints,
    Classification,
    ImagePreprocessing,
    NextToken,
    TextPreprocessing,
    TransformStep,
)
from app.contract.strings import string_array
from app.contract.tensor_spec import TensorSpec
from app.contract.tokenizer import LINE_END, Tokenizer, pad
from tests.support.dtype_rows import ROWS

OPSET = 17
SIDE = 4
COLOURS = ("dark", "bright")
WORDS = ("good", "bad", "film")
VERSE = (LINE_END, "king", "the", ",")
# Score of each token of the vocabulary, the unknown one first, to come after each id from 0 up.
FOLLOWS = np.array(
    [
        [0, 0, 0, 0, 0],  # padding
        [0, 1, 2, 3, 4],  # the unknown token
        [1, 0, 2, 4, 3],  # the end of a line
        [1, 4, 0, 2, 3],  # king
        [2, 0, 4, 1, 3],  # the
        [3, 2, 1, 4, 0],  # comma
    ],
    np.float32,
)


def write_brightness_model(
    models: Path,
    *,
    name: str = "brightness",
    version: int = 1,
    bias: float = 0.0,
    counts: Sequence[int] = range(SIDE * SIDE),
) -> Path:
    """4x4 grey images, "dark" or "bright" by the mean of the pixels that count: one dense layer of two units."""
    share = np.zeros(SIDE * SIDE)
    share[list(counts)] = 1 / len(counts)
    weights = np.stack([-share, share], axis=1).astype(np.float32)
    offset = np.array([127.5 + bias, -127.5 - bias], np.float32)
    nodes = [
        helper.make_node("Cast", ["pixels"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["float"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weights", "offset"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    spec = ModelSpec(
        name=name,
        description="dark or bright",
        inputs=(TensorSpec(name="pixels", dtype="uint8", shape=(SIDE, SIDE)),),
        outputs=(TensorSpec(name="probabilities", dtype="float32", shape=(2,)),),
        preprocessing=ImagePreprocessing(
            input="pixels",
            steps=(
                TransformStep(step="crop_square"),
                TransformStep(step="resize", arguments={"width": SIDE, "height": SIDE}),
                TransformStep(step="grey"),
            ),
        ),
        postprocessing=Classification(output="probabilities", labels=COLOURS),
        batching=BatchingHints(max_batch_size=8),
        opset=OPSET,
        trained_on="nothing",
    )
    pixels = np.random.default_rng(0).integers(0, 256, (64, SIDE, SIDE)).astype(np.uint8)
    expected = softmax(pixels.reshape(64, -1).astype(np.float32) @ weights + offset)
    graph = _graph(spec, nodes, {"weights": weights, "offset": offset})
    golden = Golden(inputs={"pixels": pixels}, outputs={"probabilities": expected}, tolerance={"default": 1e-5})
    return write_version(models, version, spec, graph, golden)


def write_words_model(models: Path, *, name: str = "words", version: int = 1) -> Path:
    """Texts, "negative" or "positive" by which of good and bad occurs more often; padding does not count."""
    tokenizer = Tokenizer(WORDS, max_length=16, keep="last")
    votes = np.array([[0, 0], [0, 0], [0, 1], [1, 0], [0, 0]], np.float32)  # padding, unknown, good, bad, film
    nodes = [
        helper.make_node("Gather", ["votes", "token_ids"], ["embedded"]),
        helper.make_node("ReduceSum", ["embedded", "axis"], ["logits"], keepdims=0),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    spec = ModelSpec(
        name=name,
        inputs=(TensorSpec(name="token_ids", dtype="int32", shape=(-1,), minimum=0, maximum=tokenizer.id_count - 1),),
        outputs=(TensorSpec(name="probabilities", dtype="float32", shape=(2,)),),
        preprocessing=TextPreprocessing(input="token_ids", max_length=16, keep="last"),
        postprocessing=Classification(output="probabilities", labels=("negative", "positive")),
        opset=OPSET,
        trained_on="nothing",
    )
    generator = np.random.default_rng(0)
    rows = [generator.integers(1, tokenizer.id_count, 1 + i % 16).astype(np.int32) for i in range(64)]
    ids = pad(rows)
    golden = Golden(
        inputs={"token_ids": ids},
        lengths={"token_ids": np.array([len(row) for row in rows], np.int32)},
        outputs={"probabilities": softmax(votes[ids].sum(axis=1))},
        tolerance={"default": 1e-5},
        raw=(RawSample(name="good.txt", data=b"A good film!", label="positive"),),
    )
    graph = _graph(spec, nodes, {"votes": votes, "axis": np.array([1], np.int64)})
    directory = models / name / str(version)
    directory.mkdir(parents=True)
    tokenizer.write(directory / "vocabulary.txt")
    return write_version(models, version, spec, graph, golden)


def write_verse_model(
    models: Path, *, name: str = "verse", version: int = 1, scores: np.ndarray = FOLLOWS, label: str = "king"
) -> Path:
    """Texts split into lines; the next token depends on the last one alone, with any padding."""
    tokenizer = Tokenizer(VERSE, max_length=16, keep="last", scheme="lines")
    nodes = [
        helper.make_node("Cast", ["token_ids"], ["present"], to=TensorProto.BOOL),
        helper.make_node("Cast", ["present"], ["ones"], to=TensorProto.INT32),
        helper.make_node("ReduceSum", ["ones", "axis"], ["lengths"], keepdims=1),
        helper.make_node("Sub", ["lengths", "one"], ["place"]),
        helper.make_node("GatherElements", ["token_ids", "place"], ["last"], axis=1),
        helper.make_node("Squeeze", ["last", "axis"], ["id"]),
        helper.make_node("Gather", ["scores", "id"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    spec = ModelSpec(
        name=name,
        inputs=(TensorSpec(name="token_ids", dtype="int32", shape=(-1,), minimum=0, maximum=tokenizer.id_count - 1),),
        outputs=(TensorSpec(name="probabilities", dtype="float32", shape=(len(tokenizer.names),)),),
        preprocessing=TextPreprocessing(input="token_ids", max_length=16, keep="last", scheme="lines"),
        postprocessing=NextToken(output="probabilities"),
        opset=OPSET,
        trained_on="nothing",
    )
    generator = np.random.default_rng(0)
    rows = [generator.integers(1, tokenizer.id_count, 1 + i % 16).astype(np.int32) for i in range(64)]
    golden = Golden(
        inputs={"token_ids": pad(rows)},
        lengths={"token_ids": np.array([len(row) for row in rows], np.int32)},
        outputs={"probabilities": softmax(FOLLOWS[[row[-1] for row in rows]])},
        tolerance={"default": 1e-5},
        raw=(RawSample(name="the.txt", data=b"Long live\r\nthe", label=label),),
    )
    weights = {"scores": scores, "axis": np.array([1], np.int64), "one": np.array(1, np.int32)}
    directory = models / name / str(version)
    directory.mkdir(parents=True)
    tokenizer.write(directory / "vocabulary.txt")
    graph = _graph(spec, nodes, weights)
    return write_version(models, version, spec, graph, golden, test={"rows": 9, "perplexity": 3.14159, "accuracy": 0.5})


def write_rule_model(models: Path, *, name: str = "rule", version: int = 1, finite: bool = True) -> Path:
    """Numbers in and out, y = 2x - 1: no labels, only tensors; unless ``finite``, with NaN and infinity too."""
    nodes = [helper.make_node("Gemm", ["x", "slope", "intercept"], ["values"])]
    spec = ModelSpec(
        name=name,
        inputs=(TensorSpec(name="x", dtype="float32", shape=(1,), finite=finite),),
        outputs=(TensorSpec(name="values", dtype="float32", shape=(1,)),),
        opset=OPSET,
        trained_on="nothing",
    )
    x = np.linspace(-3, 3, 64, dtype=np.float32)[:, None]
    golden = Golden(inputs={"x": x}, outputs={"values": 2 * x - 1}, tolerance={"default": 1e-6})
    graph = _graph(spec, nodes, {"slope": np.array([[2]], np.float32), "intercept": np.array([-1], np.float32)})
    return write_version(models, version, spec, graph, golden, test={"rows": 9, "mae": 0.1, "mse": 0.04, "rmse": 0.2})


def write_customers_model(models: Path, *, name: str = "customers", version: int = 1) -> Path:
    """Two columns with classes: who is young, whose age may be missing, or has an odd number, stays."""
    nodes = [
        helper.make_node("IsNaN", ["age"], ["missing"]),
        helper.make_node("Where", ["missing", "middle", "age"], ["known"]),
        helper.make_node("Mod", ["number", "two"], ["odd"]),
        helper.make_node("Cast", ["odd"], ["bonus"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["known", "middle"], ["older"]),
        helper.make_node("Sub", ["older", "bonus"], ["leaves"]),
        helper.make_node("Neg", ["leaves"], ["stays"]),
        helper.make_node("Unsqueeze", ["stays", "axis"], ["first"]),
        helper.make_node("Unsqueeze", ["leaves", "axis"], ["second"]),
        helper.make_node("Concat", ["first", "second"], ["logits"], axis=1),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    spec = ModelSpec(
        name=name,
        inputs=(
            TensorSpec(name="age", dtype="float32", shape=(), finite=False),
            TensorSpec(name="number", dtype="int64", shape=()),
        ),
        outputs=(TensorSpec(name="probabilities", dtype="float32", shape=(2,)),),
        postprocessing=Classification(output="probabilities", labels=("stays", "leaves")),
        opset=OPSET,
        trained_on="nothing",
    )
    age = np.linspace(38, 42, 64, dtype=np.float32)
    number = np.arange(64)
    leaves = age - 40 - (number % 2).astype(np.float32)
    golden = Golden(
        inputs={"age": age, "number": number},
        outputs={"probabilities": softmax(np.stack([-leaves, leaves], axis=1))},
        tolerance={"default": 1e-5},
    )
    weights = {"middle": np.float32(40), "two": np.int64(2), "axis": np.array([1], np.int64)}
    return write_version(models, version, spec, _graph(spec, nodes, weights), golden)


def write_types_model(models: Path, *, name: str = "types", version: int = 1, types: Iterable[str] = ROWS) -> Path:
    """For each element type an input ``in_DTYPE`` of two elements, and an output ``out_DTYPE`` equal to it."""
    shape = (2,)
    spec = ModelSpec(
        name=name,
        inputs=tuple(TensorSpec(name=f"in_{dtype}", dtype=dtype, shape=shape) for dtype in types),
        outputs=tuple(TensorSpec(name=f"out_{dtype}", dtype=dtype, shape=shape) for dtype in types),
        opset=OPSET,
        trained_on="nothing",
    )
    nodes = [helper.make_node("Identity", [f"in_{dtype}"], [f"out_{dtype}"]) for dtype in types]
    numbers = np.arange(128).reshape(64, 2)
    rows = {
        dtype: string_array([b"%d" % each for each in numbers.flat], numbers.shape)
        if dtype == "string"
        else numbers.astype(dtype)
        for dtype in types
    }
    golden = Golden(
        inputs={f"in_{dtype}": values for dtype, values in rows.items()},
        outputs={f"out_{dtype}": values for dtype, values in rows.items()},
        tolerance={"default": 0},
    )
    return write_version(models, version, spec, _graph(spec, nodes, {}), golden)


def write_fragile_model(models: Path, *, name: str = "fragile", version: int = 1) -> Path:
    """Answers the square of an index below 10; a larger one makes ONNX Runtime's Gather fail the whole batch."""
    table = (np.arange(10, dtype=np.float32) ** 2).reshape(10, 1)
    nodes = [helper.make_node("Gather", ["table", "index"], ["square"])]
    spec = ModelSpec(
        name=name,
        inputs=(TensorSpec(name="index", dtype="int32", shape=()),),
        outputs=(TensorSpec(name="square", dtype="float32", shape=(1,)),),
        opset=OPSET,
        trained_on="nothing",
    )
    index = (np.arange(64) % 10).astype(np.int32)
    golden = Golden(inputs={"index": index}, outputs={"square": table[index]}, tolerance={"default": 0})
    return write_version(models, version, spec, _graph(spec, nodes, {"table": table}), golden)


def write_slow_model(models: Path, *, name: str = "slow", version: int = 1, multiplications: int = 12) -> Path:
    """Answers its input after some seconds of matrix multiplication, when the input is not 0; one row a batch.

    Its queue has no limit in seconds, unless the test writes another serving.json afterwards.
    """
    size = 1500
    nodes = [
        helper.make_node("Cast", ["x"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["float"], ["largest"], keepdims=0),
        helper.make_node("Greater", ["largest", "zero"], ["busy"]),
        helper.make_node("If", ["busy"], ["waste"], then_branch=_work(size, multiplications), else_branch=_rest()),
        helper.make_node("Mul", ["waste", "zero"], ["nothing"]),
        helper.make_node("Add", ["float", "nothing"], ["y"]),
    ]
    spec, golden = _number_to_number(name)
    directory = write_version(models, version, spec, _graph(spec, nodes, {"zero": np.float32(0)}), golden)
    (models / name / "serving.json").write_text('{"batching": {"max_queue_s": 3600}}')
    return directory


def write_endless_model(models: Path, *, name: str = "endless", version: int = 1) -> Path:
    """Its calls never return, so that the replay of its golden samples does not end."""
    flag = helper.make_tensor_value_info("go_on", TensorProto.BOOL, [])
    number = helper.make_tensor_value_info("value", TensorProto.FLOAT, ["N"])
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go_on"], ["go_on_still"]),
            helper.make_node("Identity", ["value"], ["value_still"]),
        ],
        "body",
        [helper.make_tensor_value_info("step", TensorProto.INT64, []), flag, number],
        [
            helper.make_tensor_value_info("go_on_still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("value_still", TensorProto.FLOAT, ["N"]),
        ],
    )
    nodes = [
        helper.make_node("Cast", ["x"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Loop", ["steps", "always", "float"], ["y"], body=body),
    ]
    spec, golden = _number_to_number(name)
    weights = {"steps": np.array(2**62, np.int64), "always": np.array(True)}
    return write_version(models, version, spec, _graph(spec, nodes, weights), golden)


def _number_to_number(name: str) -> tuple[ModelSpec, Golden]:
    """The contract of a model from one number to one number; zero gives zero."""
    spec = ModelSpec(
        name=name,
        inputs=(TensorSpec(name="x", dtype="int32", shape=()),),
        outputs=(TensorSpec(name="y", dtype="float32", shape=()),),
        batching=BatchingHints(max_batch_size=1),
        opset=OPSET,
        trained_on="nothing",
    )
    golden = Golden(
        inputs={"x": np.zeros(64, np.int32)}, outputs={"y": np.zeros(64, np.float32)}, tolerance={"default": 0}
    )
    return spec, golden


def _work(size: int, multiplications: int) -> onnx.GraphProto:
    """Multiplies a matrix that depends on the input, so that it cannot be computed in advance."""
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [size, size])
    nodes = [helper.make_node("Expand", ["largest", "shape"], ["m0"])]
    for i in range(multiplications):
        nodes += [
            helper.make_node("MatMul", [f"m{i}", f"m{i}"], [f"p{i}"]),
            helper.make_node("Tanh", [f"p{i}"], [f"m{i + 1}"]),
        ]
    nodes.append(helper.make_node("ReduceMax", [f"m{multiplications}"], ["worked"], keepdims=0))
    output = helper.make_tensor_value_info("worked", TensorProto.FLOAT, [])
    return helper.make_graph(nodes, "work", [], [output], [shape])


def _rest() -> onnx.GraphProto:
    nodes = [helper.make_node("Identity", ["largest"], ["rested"])]
    return helper.make_graph(nodes, "rest", [], [helper.make_tensor_value_info("rested", TensorProto.FLOAT, [])])


def write_version(
    models: Path,
    version: int,
    spec: ModelSpec,
    graph: onnx.ModelProto,
    golden: Golden,
    *,
    test: Mapping[str, Any] | None = None,
) -> Path:
    """Write a version; ``test`` are the figures of metrics.json, an accuracy by default."""
    directory = models / spec.name / str(version)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / ONNX_FILE).write_bytes(graph.SerializeToString())
    (directory / "metrics.json").write_text(json.dumps({"test": {"accuracy": 0.5} if test is None else test}))
    spec.write(directory)
    golden.write(directory)
    write_manifest(directory)
    return directory


def flip_one_weight(directory: Path, initializer: str) -> None:
    """Negate the first weight and write a manifest that fits, as a careless edit of a model would."""
    path = directory / ONNX_FILE
    graph = onnx.load_model(path)
    for tensor in graph.graph.initializer:
        if tensor.name == initializer:
            values = numpy_helper.to_array(tensor).copy()
            values.flat[0] = -values.flat[0] - 1
            tensor.CopyFrom(numpy_helper.from_array(values, initializer))
    path.write_bytes(graph.SerializeToString())
    write_manifest(directory)


def softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (shifted / shifted.sum(axis=1, keepdims=True)).astype(np.float32)


def _graph(spec: ModelSpec, nodes: Sequence[onnx.NodeProto], weights: dict[str, np.ndarray]) -> onnx.ModelProto:
    def info(tensor: TensorSpec) -> onnx.ValueInfoProto:
        shape = ["batch", *("length" if size == -1 else size for size in tensor.shape)]
        element = helper.np_dtype_to_tensor_dtype(tensor.numpy_dtype)
        return helper.make_tensor_value_info(tensor.name, element, shape)

    graph = helper.make_graph(
        list(nodes),
        spec.name,
        [info(tensor) for tensor in spec.inputs],
        [info(tensor) for tensor in spec.outputs],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(model)
    return model
