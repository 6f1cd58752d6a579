import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from app.contract.golden import Golden, RawSample
from app.contract.manifest import verify_manifest
from app.contract.model_spec import ModelSpec
from app.contract.tokenizer import Tokenizer
from app.errors import VersionRefused
from tests.support.triton_model_config import DATA_TYPES, OF_DTYPE, model_config
from tests.training.tiny_networks import (
    CLASSES,
    EDGE,
    IMAGE_SPEC,
    LONGEST,
    TEXT_SPEC,
    TOKENIZER,
    cnn,
    masked_lstm,
    mlp,
    pictures,
    texts,
)
from training.export.parity import ParityBroken
from training.publish.publish import Version, publish


def image_version(model=None):
    return Version(
        model=model or mlp(),
        spec=IMAGE_SPEC,
        golden_inputs=pictures(),
        golden_lengths={},
        raw=(RawSample(name="a.png", data=b"png", label="low"),),
        tokenizer=None,
        metrics={"test": {"accuracy": np.float32(0.5)}},
        baseline={"pixels": np.arange(3)},
        card=lambda metrics: "# Tiny\n",
    )


def text_version(**options):
    inputs, lengths = texts()
    return Version(
        model=masked_lstm(**options),
        spec=TEXT_SPEC,
        golden_inputs=inputs,
        golden_lengths=lengths,
        raw=(),
        tokenizer=TOKENIZER,
        metrics={},
        baseline={},
        card=lambda metrics: "# Tiny\n",
    )


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """One version each of an image and of a text model. Do not write into it."""
    directory = tmp_path_factory.mktemp("models")
    publish(image_version(cnn()), repository=directory)
    publish(text_version(), repository=directory)
    return directory


@pytest.mark.parametrize("spec", [IMAGE_SPEC, TEXT_SPEC], ids=lambda spec: spec.name)
def test_a_version_contains_every_file_of_the_contract_and_its_manifest_matches(repository, spec):
    directory = repository / spec.name / "1"
    verify_manifest(directory)
    assert ModelSpec.read(directory) == spec
    files = {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}
    assert files - {"vocabulary.txt"} == {
        "saved_model.pb",
        "variables/variables.index",
        "variables/variables.data-00000-of-00001",
        "model.onnx",
        "model.json",
        "golden.npz",
        "metrics.json",
        "card.md",
        "baseline.json",
        "manifest.json",
    }
    assert ("vocabulary.txt" in files) == (spec is TEXT_SPEC)
    assert sorted(path.name for path in directory.parent.iterdir()) == ["1", "config.pbtxt"]


@pytest.mark.parametrize("spec", [IMAGE_SPEC, TEXT_SPEC], ids=lambda spec: spec.name)
def test_model_json_config_pbtxt_and_the_graph_name_the_same_tensors(repository, spec):
    graph = onnx.load(repository / spec.name / "1" / "model.onnx").graph
    config = model_config((repository / spec.name / "config.pbtxt").read_text())
    read = ModelSpec.read(repository / spec.name / "1")
    for kind in ("input", "output"):
        tensors = getattr(read, f"{kind}s")
        for value, one, tensor in zip(getattr(graph, kind), getattr(config, kind), tensors, strict=True):
            shape = [dimension.dim_value or -1 for dimension in value.type.tensor_type.shape.dim]
            assert value.name == one.name == tensor.name
            assert tuple(shape[1:]) == tuple(one.dims) == tensor.shape
            assert one.data_type == DATA_TYPES[OF_DTYPE[tensor.dtype]]
            elements = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
            assert elements == tensor.numpy_dtype


def test_golden_outputs_are_those_of_keras_for_each_row_alone_and_unpadded(repository):
    golden = Golden.read(repository / TEXT_SPEC.name / "1")
    model = masked_lstm()
    for row in range(golden.rows):
        sample = golden.row(row)["token_ids"]
        assert sample.shape == (1, golden.lengths["token_ids"][row])
        np.testing.assert_array_equal(golden.outputs["probabilities"][row], model(sample, training=False)[0])
    assert golden.tolerance_for("CPUExecutionProvider") == 1e-5


def test_metrics_keep_the_figures_of_training_and_gain_the_measured_parity(repository):
    metrics = json.loads((repository / IMAGE_SPEC.name / "1" / "metrics.json").read_text())
    assert metrics["test"]["accuracy"] == 0.5
    parity = metrics["export"]["parity"]
    assert 1e-5 <= parity["tolerance"] < 2e-5
    for kind in ("keras", "saved_model", "onnx"):
        assert list(parity[kind]) == ["1", "2", "7", "32"]
        assert max(parity[kind].values()) <= 1e-5
    texts_parity = json.loads((repository / TEXT_SPEC.name / "1" / "metrics.json").read_text())["export"]["parity"]
    assert texts_parity["onnx_padding"] == {"1": 0.0, "2": 0.0, "7": 0.0, "32": 0.0}
    assert json.loads((repository / IMAGE_SPEC.name / "1" / "baseline.json").read_text()) == {"pixels": [0, 1, 2]}


def test_the_vocabulary_reads_back(repository):
    path = repository / TEXT_SPEC.name / "1" / "vocabulary.txt"
    assert Tokenizer.read(path, max_length=LONGEST, keep="last").tokens == TOKENIZER.tokens


def test_the_saved_model_serves_without_keras_or_this_package(repository):
    code = (
        "import sys, numpy as np, tensorflow as tf\n"
        "served = tf.saved_model.load(sys.argv[1]).signatures['serving_default']\n"
        f"answer = served(pixels=tf.zeros((3, {EDGE}, {EDGE}), tf.uint8))['probabilities']\n"
        "assert answer.shape == (3, 3), answer.shape\n"
        "assert not any(name.split('.')[0] in ('tf_keras', 'training', 'app') for name in sys.modules)\n"
    )
    directory = repository / IMAGE_SPEC.name / "1"
    # Of quiet_tensorflow, which asks TensorFlow to import tf_keras in place of Keras 3.
    environment = {name: value for name, value in os.environ.items() if name != "TF_USE_LEGACY_KERAS"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(directory)],
        cwd=Path(directory),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_second_version_does_not_change_the_first(tmp_path):
    first = publish(image_version(), repository=tmp_path)
    before = {path: path.read_bytes() for path in first.rglob("*") if path.is_file()}
    second = publish(image_version(mlp(seed=1)), repository=tmp_path)
    assert (first.name, second.name) == ("1", "2")
    assert {path: path.read_bytes() for path in first.rglob("*") if path.is_file()} == before
    verify_manifest(first)
    assert (second / "model.onnx").read_bytes() != (first / "model.onnx").read_bytes()


def test_a_model_that_answers_differently_every_time_is_not_published(tmp_path):
    import tensorflow as tf
    import tf_keras
    from tf_keras import layers

    class Restless(layers.Layer):
        def call(self, x):
            return x + tf.random.uniform(tf.shape(x), maxval=1e-3)

    pixels = layers.Input((EDGE, EDGE), dtype="uint8")
    x = layers.Flatten()(layers.Rescaling(1 / 255)(pixels))
    model = tf_keras.Model(pixels, Restless()(layers.Dense(len(CLASSES), activation="softmax")(x)))
    with pytest.raises(ParityBroken, match=r"tiny-image: keras in a batch of 1 differs from Keras alone by 0\.000"):
        publish(image_version(model), repository=tmp_path)
    assert not list(tmp_path.iterdir())


def test_too_few_golden_rows_are_refused_and_no_file_is_left(tmp_path):
    with pytest.raises(VersionRefused, match="at least 64"):
        publish(replace(image_version(), golden_inputs=pictures(40)), repository=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_tokenizer_that_is_not_the_specs_is_refused(tmp_path):
    other = Tokenizer(TOKENIZER.tokens[:-1], max_length=LONGEST, keep="last")
    with pytest.raises(
        VersionRefused, match=r"\('words', 12, 'last', 40\), but the spec says \('words', 12, 'last', 41\.0\)"
    ):
        publish(replace(text_version(), tokenizer=other), repository=tmp_path)
    assert not list(tmp_path.iterdir())


def test_outputs_that_keras_does_not_give_are_refused(tmp_path):
    wide = IMAGE_SPEC.outputs[0].model_copy(update={"shape": (4,)})
    spec = IMAGE_SPEC.model_copy(update={"outputs": (wide,), "postprocessing": None})
    with pytest.raises(
        VersionRefused, match=r"gives 'probabilities' as float32 \(3,\), but the spec says float32 \(4,\)"
    ):
        publish(replace(image_version(), spec=spec), repository=tmp_path)
    assert not list(tmp_path.iterdir())
