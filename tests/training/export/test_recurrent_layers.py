"""Masked recurrent layers of both libraries become fused operations with the answers of Keras."""

import importlib
import re
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest

from app.contract.model_spec import ModelSpec
from app.contract.steps import TextPreprocessing
from app.contract.tensor_spec import TensorSpec
from tests.training.tiny_networks import (
    LONGEST,
    TEXT_SPEC,
    TOKEN_IDS,
    TOKENIZER,
    masked_lstm,
    spec_of,
    texts,
)
from training.export.model_export import OPSET, Runner, export_onnx, keras_runner, onnx_runner
from training.export.parity import PADDING_TOLERANCE, padding_tolerance
from training.export.recurrent_cells import NoOnnxForm, onnx_cell

FUSED = {"LSTM", "GRU", "RNN"}
CELLS = {"lstm": ("LSTM", {}), "gru": ("GRU", {}), "gru_v1": ("GRU", {"reset_after": False}), "rnn": ("SimpleRNN", {})}
ACTIVATIONS = ("tanh", "sigmoid", "relu", "hard_sigmoid", "elu", "softsign", "linear")
TEXT = TextPreprocessing(input="token_ids", max_length=LONGEST, keep="last")
STATES = spec_of("states", TOKEN_IDS, tuple("abcdefgh"), TEXT)
KINDS = {
    "lstm": ({}, TEXT_SPEC),
    "stacked": ({"stacked": True}, TEXT_SPEC),
    # Without a dense layer the answer is the two states, so that a swap of the directions would show.
    "bidirectional": ({"bidirectional": True, "head": False}, STATES),
}


def of_every_cell(layers, x, _):
    """Output name -> (batch, units) or (batch, steps, units), for every cell."""
    found = {}
    for name, (kind, options) in CELLS.items():
        cell = getattr(layers, kind)
        found[f"{name}_steps"] = cell(4, return_sequences=True, **options)(x)
        found[f"{name}_backwards"] = cell(4, go_backwards=True, use_bias=False, **options)(x)
        both = layers.Bidirectional(cell(3, return_sequences=True, **options))(x)
        found[f"{name}_stacked"] = layers.Bidirectional(cell(4, **options))(layers.Dropout(0.5)(both))
    found["zero_steps"] = layers.LSTM(3, return_sequences=True, zero_output_for_mask=True)(x)
    found["other"] = layers.Bidirectional(layers.LSTM(3), backward_layer=layers.GRU(3, go_backwards=True))(x)
    return found


def of_every_setting(layers, x, _):
    """The same, for settings that do not depend on the cell."""
    found = {}
    for merge in ("sum", "mul", "ave"):
        found[f"{merge}_steps"] = layers.Bidirectional(layers.GRU(3, return_sequences=True), merge_mode=merge)(x)
    found["forward"], found["backward"] = layers.Bidirectional(layers.LSTM(3), merge_mode=None)(x)
    found["cell"] = layers.RNN(layers.GRUCell(3))(x)
    last, hidden, carry = layers.LSTM(4, return_state=True)(x)
    found |= {"with_state": last, "hidden": hidden, "carry": carry}
    found["started"] = layers.LSTM(4)(x, initial_state=[hidden, carry])
    for name in ACTIVATIONS:
        found[f"rnn_{name}"] = layers.SimpleRNN(3, activation=name)(x)
    found["lstm_hard"] = layers.LSTM(3, activation="softsign", recurrent_activation="hard_sigmoid")(x)
    found["gru_hard"] = layers.Bidirectional(layers.GRU(3, activation="elu", recurrent_activation="hard_sigmoid"))(x)
    return found


def some_of_each(layers, x, _):
    """The same, for layers of every kind; tf_keras takes a second to build a recurrent layer with a mask."""
    both = layers.Bidirectional(layers.LSTM(3, return_sequences=True))(x)
    last, hidden = layers.GRU(4, reset_after=False, return_state=True)(x)
    return {
        "both_steps": both,
        "stacked": layers.GRU(4)(layers.Dropout(0.5)(both)),
        "with_state": last,
        "started_steps": layers.GRU(4, return_sequences=True)(x, initial_state=[hidden]),
        "rnn_hard": layers.SimpleRNN(3, activation="hard_sigmoid", go_backwards=True)(x),
        "heads_steps": layers.MultiHeadAttention(2, 3)(x, x),
    }


def of_pooling_and_attention(layers, x, ids):
    """The same, for layers that read masks without being recurrent, and for a network that masks by itself."""
    average = layers.GlobalAveragePooling1D
    weight = layers.Lambda(as_weights, output_shape=(None, 1))(ids)
    convolved = layers.Conv1D(4, 3, padding="same", activation="relu")(layers.Multiply()([x, weight]))
    steps = layers.LSTM(4, return_sequences=True)(x)
    normal = layers.LayerNormalization()(
        x
    )  # MultiHeadAttention of Keras 3 takes the mask from what else reads its input
    return {
        "average": average()(x),
        "attention": average()(layers.Attention()([x, x])),
        "heads": average()(layers.MultiHeadAttention(2, 3)(normal, normal)),
        "steps_attention": average()(layers.Attention()([steps, steps])),
        "convolved": layers.GlobalMaxPooling1D()(layers.Multiply()([convolved, weight])),
    }


def as_weights(ids):
    """1 for a token and 0 for padding, (batch, steps, 1)."""
    import tensorflow as tf

    return tf.cast(ids != 0, tf.float32)[..., tf.newaxis]


@dataclass(frozen=True)
class Exported:
    """A network with the answers of Keras and of its ONNX graph to padded rows."""

    keras: dict[str, np.ndarray]
    onnx: dict[str, np.ndarray]
    alone: list[dict[str, np.ndarray]]
    lengths: np.ndarray
    graph: Any
    padding_tolerance: float


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """(network, library, whether it reads texts) -> Exported; each is made once."""
    made = {}

    def export(network, library, *, text=True):
        if (network, library, text) not in made:
            with warnings.catch_warnings(action="ignore"):  # of Keras 3, that a layer drops its mask
                made[network, library, text] = _export(network, library, text, tmp_path_factory.mktemp("masked"))
        return made[network, library, text]

    return export


def _export(network, library, text, directory):
    import tensorflow as tf

    library = importlib.import_module(library)
    layers = library.layers
    library.utils.set_random_seed(1)
    if text:
        given = layers.Input((None,), dtype="int32", name="token_ids")
        x = layers.Embedding(TOKENIZER.id_count, 3, mask_zero=True)(given)
        values, lengths = (part["token_ids"] for part in texts(24))
    else:
        given = layers.Input((None, 3), name="numbers")
        x = layers.Masking()(given)
        values, lengths = with_gaps(), np.full(24, LONGEST)
    outputs = network(layers, x, given)
    model = library.Model(given, list(outputs.values()))
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(0, 0.5, weight.shape).astype(weight.dtype) for weight in model.get_weights()])
    inputs = TOKEN_IDS if text else TensorSpec(name="numbers", dtype="float32", shape=(-1, 3))
    tensors = [
        TensorSpec(name=name, dtype="float32", shape=tuple(-1 if size is None else size for size in value.shape[1:]))
        for name, value in outputs.items()
    ]
    spec = ModelSpec(
        name="masked",
        inputs=(inputs,),
        outputs=tuple(tensors),
        preprocessing=TEXT if text else None,
        opset=OPSET,
        trained_on="nothing",
    )
    path = directory / "model.onnx"
    export_onnx(model, spec, path)
    run = onnx_runner(path, spec)
    answers = model(tf.constant(values), training=False)
    return Exported(
        keras=dict(zip(outputs, map(np.asarray, answers), strict=True)),
        onnx=run({inputs.name: values}),
        alone=[run({inputs.name: values[row : row + 1, :length]}) for row, length in enumerate(lengths)],
        lengths=lengths,
        graph=onnx.load(path).graph,
        padding_tolerance=padding_tolerance(path),
    )


def with_gaps():
    """Rows of numbers in which any step may be masked, in one of them every step."""
    rng = np.random.default_rng(0)
    kept = rng.random((24, LONGEST)) < 0.6
    kept[0], kept[1] = False, True
    return (rng.normal(size=(24, LONGEST, 3)) * kept[..., None]).astype(np.float32)


CELL_OUTPUTS = [f"{cell}_{kind}" for cell in CELLS for kind in ("steps", "backwards", "stacked")]
SETTING_OUTPUTS = [
    *("sum_steps", "mul_steps", "ave_steps", "forward", "backward", "cell"),
    *("with_state", "hidden", "carry", "started", "lstm_hard", "gru_hard"),
    *(f"rnn_{name}" for name in ACTIVATIONS),
]
SOME = ["both_steps", "stacked", "with_state", "started_steps", "rnn_hard", "heads_steps"]
POOLED = ["average", "attention", "heads", "steps_attention", "convolved"]
# (network, library) -> outputs, and recurrent operations
NETWORKS = {
    (of_every_cell, "keras"): ([*CELL_OUTPUTS, "zero_steps", "other"], 19),
    (of_every_setting, "keras"): (SETTING_OUTPUTS, 16),
    (some_of_each, "tf_keras"): (SOME, 5),
    (of_pooling_and_attention, "keras"): (POOLED, 1),
}
OUTPUTS = [(*made, output) for made, (outputs, _) in NETWORKS.items() for output in outputs]
GAPS = [made for made in OUTPUTS if made[0] in {of_every_cell, some_of_each} and made[2] != "heads_steps"]


@pytest.mark.parametrize(("network", "library", "output"), OUTPUTS)
def test_a_padded_row_answers_as_keras_does_and_as_alone(exported, network, library, output):
    made = exported(network, library)
    for row, length in enumerate(made.lengths):
        found, expected, alone = made.onnx[output][row], made.keras[output][row], made.alone[row][output][0]
        if output.endswith("steps"):
            found, expected = found[:length], expected[:length]
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)  # float32, values up to 2
        if (output, library) != ("started", "keras"):  # with an initial state, Keras 3 loses the mask
            np.testing.assert_allclose(found, alone, rtol=0, atol=PADDING_TOLERANCE)
    assert np.abs(made.onnx[output][2] - made.onnx[output][5]).max() > 1e-3


@pytest.mark.parametrize(("network", "library", "output"), GAPS)
def test_any_step_may_be_masked_and_every_step_of_a_row(exported, network, library, output):
    made = exported(network, library, text=False)
    np.testing.assert_allclose(made.onnx[output], made.keras[output], rtol=0, atol=5e-6)  # float32, values up to 4


@pytest.mark.parametrize(("network", "library"), NETWORKS)
def test_every_recurrent_layer_is_one_operation_that_knows_the_length_of_each_row(exported, network, library):
    graph = exported(network, library).graph
    ops = Counter(node.op_type for node in graph.node)
    assert not ops["Loop"] + ops["Scan"] + ops["If"] + ops["TopK"]  # a text needs no reordering: padding comes last
    recurrent = [node for node in graph.node if node.op_type in FUSED]
    assert len(recurrent) == NETWORKS[network, library][1]
    assert sum(not node.input[4] for node in recurrent) == (network is of_every_setting)  # "started", see above
    assert len({node.input[4] for node in recurrent if node.input[4]}) == 1  # the lengths are computed once


def test_steps_that_any_mask_keeps_are_put_in_order_once(exported):
    ops = Counter(node.op_type for node in exported(of_every_cell, "keras", text=False).graph.node)
    assert ops["TopK"] == 1
    assert not ops["Loop"] + ops["Scan"]


def test_lstm_and_gru_give_the_same_bits_with_padding(exported):
    made = exported(of_every_cell, "keras")
    for output in CELL_OUTPUTS:
        for row, length in enumerate(made.lengths):
            if not output.startswith("rnn"):
                together = made.onnx[output][row][:length] if output.endswith("steps") else made.onnx[output][row]
                np.testing.assert_array_equal(together, made.alone[row][output][0])


def test_only_a_graph_of_lstm_and_gru_must_give_the_same_bits(exported, lstms):
    assert exported(of_pooling_and_attention, "keras").padding_tolerance == PADDING_TOLERANCE
    assert exported(of_every_cell, "keras").padding_tolerance == PADDING_TOLERANCE  # it has a SimpleRNN
    assert padding_tolerance(lstms("stacked").path) == 0


class Fused(NamedTuple):
    """One of KINDS."""

    keras: Runner
    onnx: Runner
    graph: Any
    path: Path


@pytest.fixture(scope="module")
def lstms(tmp_path_factory):
    """Name of the kind -> its runners and its ONNX graph; each is exported once."""
    directory = tmp_path_factory.mktemp("lstms")
    made = {}

    def export(kind):
        if kind not in made:
            options, spec = KINDS[kind]
            model, path = masked_lstm(**options), directory / f"{kind}.onnx"
            export_onnx(model, spec, path)
            made[kind] = Fused(keras_runner(model, spec), onnx_runner(path, spec), onnx.load(path).graph, path)
        return made[kind]

    return export


@pytest.mark.parametrize("kind", KINDS)
def test_a_masked_lstm_needs_nothing_but_its_operation_and_the_lengths(lstms, kind):
    graph = lstms(kind).graph
    ops = Counter(node.op_type for node in graph.node)
    assert ops["LSTM"] == (2 if kind == "stacked" else 1)
    assert not ops["Loop"] + ops["Scan"] + ops["Where"]  # between two LSTMs the numbers at masked steps do not matter
    lstm = [node for node in graph.node if node.op_type == "LSTM"][-1]
    assert list(lstm.input[5:7]) in ([], ["", ""])  # zero states are left out, not computed
    assert (lstm.output[0], bool(lstm.output[1])) == ("", True)


@pytest.mark.parametrize("kind", KINDS)
def test_padded_rows_answer_as_keras_does_and_bit_for_bit_as_alone(lstms, kind):
    keras_run, onnx_run, *_ = lstms(kind)
    inputs, lengths = texts()
    ids = inputs["token_ids"]
    together = onnx_run(inputs)["probabilities"]
    np.testing.assert_allclose(together, keras_run(inputs)["probabilities"], atol=1e-6)
    for row, length in enumerate(lengths["token_ids"]):
        alone = onnx_run({"token_ids": ids[row : row + 1, :length]})["probabilities"][0]
        np.testing.assert_array_equal(together[row], alone)


def test_the_two_directions_end_in_states_that_a_swap_would_show(lstms):
    run = lstms("bidirectional").onnx
    states = run(texts()[0])["probabilities"]
    assert np.abs(states[:, :4] - states[:, 4:]).max() > 1e-3


def test_a_row_of_padding_only_counts_as_one_token(lstms):
    run = lstms("bidirectional").onnx
    ids = np.zeros((2, LONGEST), np.int32)
    ids[1, :3] = [5, 6, 7]
    answers = run({"token_ids": ids})["probabilities"]
    np.testing.assert_array_equal(answers[0], run({"token_ids": ids[:1, :1]})["probabilities"][0])
    np.testing.assert_array_equal(answers[1], run({"token_ids": ids[1:, :3]})["probabilities"][0])


def test_names_describe_the_position_of_each_layer(lstms):
    graph = lstms("bidirectional").graph
    assert [node.name for node in graph.node] == [f"{node.op_type}_{n}" for n, node in enumerate(graph.node)]
    for value in graph.initializer:
        assert re.fullmatch(r"[A-Za-z]+_\d+\.\d+", value.name)


def test_a_layer_without_an_onnx_form_keeps_its_loop_and_its_answer(tmp_path):
    model = masked_lstm(activation="swish")
    with pytest.raises(NoOnnxForm, match=r"layer 'lstm\w*' \(LSTM\): activation '\w+' has no form inside an ONNX"):
        onnx_cell(model.layers[-2])
    export_onnx(model, TEXT_SPEC, tmp_path / "model.onnx")
    ops = {node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node}
    assert "Loop" in ops
    assert not ops & FUSED
    found = onnx_runner(tmp_path / "model.onnx", TEXT_SPEC)(texts()[0])["probabilities"]
    np.testing.assert_allclose(found, keras_runner(model, TEXT_SPEC)(texts()[0])["probabilities"], atol=1e-6)


def test_a_class_of_ones_own_is_not_taken_for_the_layer_it_extends(tmp_path):
    import keras

    class Doubled(keras.layers.SimpleRNN):
        def call(self, sequences, initial_state=None, mask=None, training=False):
            return 2 * super().call(sequences, initial_state, mask, training)

    ids = keras.layers.Input((None,), dtype="int32", name="token_ids")
    x = Doubled(2)(keras.layers.Embedding(TOKENIZER.id_count, 3, mask_zero=True)(ids))
    model = keras.Model(ids, x)
    export_onnx(model, TEXT_SPEC, tmp_path / "model.onnx")
    found = onnx_runner(tmp_path / "model.onnx", TEXT_SPEC)(texts()[0])["probabilities"]
    np.testing.assert_allclose(found, np.asarray(model(texts()[0]["token_ids"])), rtol=0, atol=1e-6)


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_the_layers_are_their_own_again_after_a_trace(error):
    from training.export.recurrent_layers import fused_layers

    model = masked_lstm()
    ids = texts()[0]["token_ids"]
    before = model(ids).numpy()

    def body():
        with fused_layers(model, ids="token_ids"):
            if error:
                raise error

    if error:
        with pytest.raises(error):
            body()
    else:
        body()
    np.testing.assert_array_equal(model(ids).numpy(), before)
