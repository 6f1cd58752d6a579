from collections import Counter

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from app.contract.model_spec import ModelSpec
from app.contract.steps import NextToken, TextPreprocessing
from app.contract.tensor_spec import TensorSpec
from tests.training.tiny_networks import (
    IMAGE_SPEC,
    LONGEST,
    TEXT_SPEC,
    cnn,
    masked_lstm,
    mlp,
    pictures,
    texts,
)
from training.export import onnx_passes
from training.export.model_export import OPSET, export_onnx, keras_runner, onnx_runner
from training.export.onnx_graph import GraphEdit, PassFailed, canonicalise
from training.recipe.recipe import Signature
from training.recipes.shakespeare_next_word_lstm import EMBEDDING, Network, build, last_word


def test_batch_normalisation_after_a_dense_layer_goes_into_its_weights(tmp_path):
    import tf_keras
    from tf_keras import layers

    tf_keras.utils.set_random_seed(0)
    pixels = layers.Input(IMAGE_SPEC.inputs[0].shape, dtype="uint8")
    x = layers.Dense(5, use_bias=False)(layers.Flatten()(layers.Rescaling(1 / 64, offset=-2)(pixels)))
    start = {"gamma_initializer": "normal", "beta_initializer": "normal", "moving_mean_initializer": "normal"}
    x = layers.ReLU()(layers.BatchNormalization(**start)(x))
    model = tf_keras.Model(pixels, layers.Dense(3, activation="softmax")(x))
    export_onnx(model, IMAGE_SPEC, tmp_path / "model.onnx")
    ops = Counter(node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node)
    assert ops["Mul"] == 1  # the rescaling
    found = onnx_runner(tmp_path / "model.onnx", IMAGE_SPEC)(pictures())["probabilities"]
    np.testing.assert_allclose(found, keras_runner(model, IMAGE_SPEC)(pictures())["probabilities"], rtol=0, atol=2e-6)


def scaled_dense(*, outputs):
    """A graph that multiplies x @ identity by 2 and 3, and adds both; the tensors named are its outputs."""
    weights = onnx.numpy_helper.from_array(np.eye(2, dtype=np.float32), "w")
    factor = onnx.numpy_helper.from_array(np.float32([2, 3]), "a")
    nodes = [
        onnx.helper.make_node("MatMul", ["x", "w"], ["plain"]),
        onnx.helper.make_node("Mul", ["plain", "a"], ["scaled"]),
        onnx.helper.make_node("Add", ["plain", "scaled"], ["sum"]),
    ]
    named = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 2]) for name in ("x", *outputs)]
    graph = onnx.helper.make_graph(nodes, "g", named[:1], named[1:], [weights, factor])
    if "sum" not in outputs:
        del graph.node[2]
    return graph


@pytest.mark.parametrize("outputs", [["sum"], ["scaled"], ["plain", "scaled"]])
def test_a_scale_moves_only_if_the_unscaled_value_has_no_other_reader_and_the_answer_stays_the_same(outputs):
    graph = scaled_dense(outputs=outputs)
    onnx_passes.fold_scales(graph)
    assert ("Mul" in [node.op_type for node in graph.node]) == (outputs != ["scaled"])
    model = onnx.helper.make_model(graph, ir_version=8, opset_imports=[onnx.helper.make_opsetid("", 17)])
    answers = dict(zip(outputs, ReferenceEvaluator(model).run(outputs, {"x": np.float32([[10, 20]])}), strict=True))
    wanted = {"plain": [[10, 20]], "scaled": [[20, 60]], "sum": [[30, 80]]}
    assert {name: answer.tolist() for name, answer in answers.items()} == {name: wanted[name] for name in outputs}


@pytest.mark.parametrize(("build", "spec"), [(mlp, IMAGE_SPEC), (cnn, IMAGE_SPEC), (masked_lstm, TEXT_SPEC)])
def test_equal_models_give_equal_bytes_after_any_earlier_builds(tmp_path, build, spec):
    export_onnx(build(), spec, tmp_path / "first.onnx")
    cnn(seed=1)
    export_onnx(build(), spec, tmp_path / "second.onnx")
    assert (tmp_path / "first.onnx").read_bytes() == (tmp_path / "second.onnx").read_bytes()


def test_a_graph_that_does_not_have_the_specs_outputs_is_refused():
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["x"], ["y"])],
        "g",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n"])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n"])],
    )
    tensor = TensorSpec(name="x", dtype="float32", shape=())
    wrong = TensorSpec(name="scores", dtype="float32", shape=())
    with pytest.raises(PassFailed, match=r"outputs are \['y'\], but the spec names \['scores'\]"):
        canonicalise(onnx.helper.make_model(graph), name="m", inputs=[tensor], outputs=[wrong])


def test_an_unread_output_stays_if_its_operation_must_have_it():
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("TopK", ["x", "k"], ["values", "places"])],
        "g",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 4])],
        [onnx.helper.make_tensor_value_info("places", onnx.TensorProto.INT64, ["n", 2])],
        [onnx.numpy_helper.from_array(np.array([2]), "k")],
    )
    GraphEdit(graph).sort_and_prune()
    onnx.checker.check_model(
        onnx.helper.make_model(graph, ir_version=8, opset_imports=[onnx.helper.make_opsetid("", OPSET)]),
        full_check=True,
    )


def run(model, feeds):
    onnx.checker.check_model(model, full_check=True)
    return ReferenceEvaluator(model).run([value.name for value in model.graph.output], feeds)


def model_of(nodes, inputs, outputs, constants):
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(*node, **options) for *node, options in nodes],
        "g",
        [onnx.helper.make_tensor_value_info(name, dtype, shape) for name, (dtype, shape) in inputs.items()],
        [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return onnx.helper.make_model(graph, ir_version=8, opset_imports=[onnx.helper.make_opsetid("", OPSET)])


def tied(*, width=4, ids=7):
    """Gather(E) and MatMul(x, E'): the scores of every id for the vector of each id."""
    table = np.random.default_rng(0).normal(size=(ids, width)).astype(np.float32)
    return model_of(
        [("Gather", ["e", "ids"], ["vectors"], {}), ("MatMul", ["vectors", "turned"], ["scores"], {})],
        {"ids": (onnx.TensorProto.INT64, ["n"])},
        {"scores": ["n", ids]},
        {"e": table, "turned": np.ascontiguousarray(table.T)},
    )


def sizes(model):
    return sorted(tuple(value.dims) for value in model.graph.initializer)


def test_weights_that_are_used_as_they_are_and_transposed_are_kept_once():
    ids = np.array([3, 0, 6])
    model = tied()
    before = run(model, {"ids": ids})
    onnx_passes.share_transposed(model)
    assert sizes(model) == [(7, 4)]
    np.testing.assert_allclose(run(model, {"ids": ids}), before, rtol=1e-6)  # float32, another order of summation


def test_two_products_with_each_other_s_transpose_end_with_one_copy():
    table = np.random.default_rng(1).normal(size=(3, 5)).astype(np.float32)
    model = model_of(
        [("MatMul", ["x", "w"], ["wide"], {}), ("MatMul", ["wide", "back"], ["y"], {})],
        {"x": (onnx.TensorProto.FLOAT, ["n", 3])},
        {"y": ["n", 3]},
        {"w": table, "back": np.ascontiguousarray(table.T)},
    )
    x = np.random.default_rng(2).normal(size=(4, 3)).astype(np.float32)
    before = run(model, {"x": x})
    onnx_passes.share_transposed(model)
    assert len(model.graph.initializer) == 1
    np.testing.assert_allclose(run(model, {"x": x}), before, rtol=1e-5, atol=1e-6)  # float32


@pytest.mark.parametrize("shape", [["n", "t", 3], [3]])
def test_a_product_without_a_matrix_stays(shape):
    """A dense layer of zeros after one of zeros, on every step of a text: each is the other's transpose."""
    model = model_of(
        [("MatMul", ["x", "w"], ["wide"], {}), ("MatMul", ["wide", "back"], ["y"], {})],
        {"x": (onnx.TensorProto.FLOAT, shape)},
        {"y": shape},
        {"w": np.zeros((3, 5), np.float32), "back": np.zeros((5, 3), np.float32)},
    )
    onnx_passes.share_transposed(model)
    assert [node.op_type for node in model.graph.node] == ["MatMul", "MatMul"]
    x = np.ones([2 if isinstance(size, str) else size for size in shape], np.float32)
    assert run(model, {"x": x})[0].shape == x.shape


def test_weights_that_are_not_transposes_stay():
    table = np.arange(6, dtype=np.float32).reshape(2, 3)
    model = model_of(
        [("MatMul", ["x", "w"], ["wide"], {}), ("MatMul", ["wide", "back"], ["y"], {})],
        {"x": (onnx.TensorProto.FLOAT, ["n", 2])},
        {"y": ["n", 2]},
        {"w": table, "back": table.T + np.float32(1e-6)},
    )
    onnx_passes.share_transposed(model)
    assert [node.op_type for node in model.graph.node] == ["MatMul", "MatMul"]
    assert sizes(model) == [(2, 3), (3, 2)]


IDS = 30
NEXT_TOKEN = ModelSpec(
    name="tiny-plays",
    inputs=(TensorSpec(name="token_ids", dtype="int32", shape=(-1,), minimum=0, maximum=IDS - 1),),
    outputs=(TensorSpec(name="probabilities", dtype="float32", shape=(IDS - 1,)),),
    preprocessing=TextPreprocessing(input="token_ids", scheme="lines", max_length=LONGEST, keep="last"),
    postprocessing=NextToken(output="probabilities"),
    opset=OPSET,
    trained_on="nothing",
)


@pytest.fixture(scope="module")
def next_word(tmp_path_factory):
    """(model that reads every step, model that reads the last, path of the second's ONNX graph)."""
    import tf_keras

    tf_keras.utils.set_random_seed(0)
    network, signature = Network(embedding=5, units=6), Signature(input=NEXT_TOKEN.inputs[0], classes=0)
    every = build(network, signature)
    rng = np.random.default_rng(0)
    every.set_weights([rng.normal(0, 0.7, weight.shape).astype(weight.dtype) for weight in every.get_weights()])
    last = last_word(network, every, signature, {})
    path = tmp_path_factory.mktemp("next-word") / "model.onnx"
    export_onnx(last, NEXT_TOKEN, path)
    return every, last, path


def contexts():
    inputs, lengths = texts()
    return {"token_ids": inputs["token_ids"] % (IDS - 1) + (inputs["token_ids"] > 0)}, lengths


def test_an_embedding_that_also_scores_is_in_the_file_once(next_word):
    _, last, path = next_word
    graph = onnx.load(path).graph
    embedding = last.get_layer(EMBEDDING).get_weights()[0]
    copies = [
        value.name
        for value in graph.initializer
        if np.array_equal(onnx.numpy_helper.to_array(value), embedding)
        or np.array_equal(onnx.numpy_helper.to_array(value), embedding.T)
    ]
    assert len(copies) == 1
    readers = {node.op_type for node in graph.node if copies[0] in node.input}
    assert readers == {"Gather", "Gemm"}
    assert path.stat().st_size < 4 * last.count_params() + 6000  # the weights and the graph, nothing twice


def test_the_next_word_of_padded_rows_is_keras_s_and_bit_for_bit_that_of_each_row_alone(next_word):
    _, last, path = next_word
    inputs, lengths = contexts()
    onnx_run = onnx_runner(path, NEXT_TOKEN)
    together = onnx_run(inputs)["probabilities"]
    assert together.shape == (64, IDS - 1)
    np.testing.assert_allclose(together.sum(axis=1), 1, atol=1e-5)  # float32 softmax
    np.testing.assert_allclose(together, keras_runner(last, NEXT_TOKEN)(inputs)["probabilities"], rtol=0, atol=1e-5)
    for row, length in enumerate(lengths["token_ids"]):
        alone = inputs["token_ids"][row : row + 1, :length]
        np.testing.assert_array_equal(together[row], onnx_run({"token_ids": alone})["probabilities"][0])
    assert np.abs(together[0] - together[1]).max() > 1e-2


def test_the_served_network_gives_the_answer_of_the_trained_one_after_the_last_token(next_word):
    every, _, _ = next_word
    without_cache = Network(embedding=5, units=6, cache_share=0.0)
    last = last_word(without_cache, every, Signature(input=NEXT_TOKEN.inputs[0], classes=0), {})
    inputs, lengths = contexts()
    steps = every(inputs["token_ids"]).numpy()
    assert steps.shape == (64, LONGEST, IDS - 1)
    wanted = steps[np.arange(64), lengths["token_ids"] - 1]
    np.testing.assert_allclose(last(inputs["token_ids"]).numpy(), wanted, rtol=0, atol=1e-6)  # float32
    assert last.count_params() == every.count_params()
