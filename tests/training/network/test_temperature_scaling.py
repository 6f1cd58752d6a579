import numpy as np
import pytest

from tests.training.tiny_networks import EDGE, IMAGE_SPEC, pictures
from training.export.model_export import export_onnx, keras_runner, onnx_runner
from training.network.temperature_scaling import head_of

TEMPERATURE = 0.4
IMAGES = pictures(200)


def built(end):
    """A network of pictures whose answers ``end`` makes of 12 features."""
    import tf_keras
    from tf_keras import layers

    tf_keras.utils.set_random_seed(0)
    pixels = layers.Input((EDGE, EDGE), dtype="uint8", name="pixels")
    x = layers.Flatten()(layers.Rescaling(1 / 64, offset=-2)(pixels))
    x = layers.Dense(12, activation="relu", name="hidden")(x)
    return tf_keras.Model(pixels, end(layers, x), name="tiny")


def mean_of_two(layers, x):
    return layers.Average(name="probabilities")([layers.Dense(3, activation="softmax")(x) for _ in range(2)])


def after_an_addition(layers, x):
    return layers.Activation("softmax", name="probabilities")(layers.Add()([layers.Dense(3)(x), layers.Dense(3)(x)]))


ENDS = {
    "dense": lambda layers, x: layers.Dense(3, activation="softmax", name="probabilities")(x),
    "dense without bias": lambda layers, x: layers.Dense(3, "softmax", use_bias=False, name="probabilities")(x),
    "activation": lambda layers, x: layers.Activation("softmax", name="probabilities")(layers.Dense(3, name="z")(x)),
    "softmax layer": lambda layers, x: layers.Softmax(name="probabilities")(layers.Dense(3, name="z")(x)),
    "sigmoid": lambda layers, x: layers.Dense(3, activation="sigmoid", name="probabilities")(x),
    "addition": after_an_addition,
    "mean": mean_of_two,
}
PLACES = {
    "dense": "kernel and bias of layer 'probabilities' are divided by it",
    "dense without bias": "kernel and bias of layer 'probabilities' are divided by it",
    "activation": "kernel and bias of layer 'z' are divided by it",
    "softmax layer": "kernel and bias of layer 'z' are divided by it",
    "sigmoid": "kernel and bias of layer 'probabilities' are divided by it",
    "addition": "a layer before 'probabilities' divides by it",
    "mean": "the logarithms of the probabilities are divided by it",
}


def expected(probabilities, kind):
    """Probabilities after their logits were divided."""
    if kind == "sigmoid":
        return 1 / (1 + ((1 - probabilities) / probabilities) ** (1 / TEMPERATURE))
    powers = probabilities ** (1 / TEMPERATURE)
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("kind", ENDS)
def test_every_end_of_a_network_is_divided_and_onnx_agrees_with_keras(kind, tmp_path):
    model = built(ENDS[kind])
    before = model.predict(IMAGES["pixels"], verbose=0)
    head = head_of(model)
    assert head.place == PLACES[kind]
    divided = head.divided(TEMPERATURE)
    after = keras_runner(divided, IMAGE_SPEC)(IMAGES)["probabilities"]
    np.testing.assert_allclose(after, expected(before.astype(np.float64), kind), atol=2e-6)  # float32
    assert (after.argmax(axis=1) == before.argmax(axis=1)).all()
    np.testing.assert_array_equal(np.argsort(after, axis=1, kind="stable"), np.argsort(before, axis=1, kind="stable"))
    export_onnx(divided, IMAGE_SPEC, tmp_path / "model.onnx")
    served = onnx_runner(tmp_path / "model.onnx", IMAGE_SPEC)(IMAGES)["probabilities"]
    np.testing.assert_allclose(served, after, atol=1e-6)  # float32


def test_the_network_itself_stays_as_it_was():
    model = built(ENDS["dense"])
    before, layers = model.predict(IMAGES["pixels"], verbose=0), list(model.layers)
    head_of(model).divided(TEMPERATURE)
    assert (model.predict(IMAGES["pixels"], verbose=0) == before).all()
    assert model.layers == layers


def test_a_dense_end_keeps_the_number_of_operations(tmp_path):
    import onnx

    model = built(ENDS["dense"])
    export_onnx(model, IMAGE_SPEC, tmp_path / "before.onnx")
    export_onnx(head_of(model).divided(TEMPERATURE), IMAGE_SPEC, tmp_path / "after.onnx")
    before, after = (onnx.load(tmp_path / f"{name}.onnx").graph.node for name in ("before", "after"))
    assert [node.op_type for node in after] == [node.op_type for node in before]


def test_a_class_of_probability_0_stays_last():
    model = built(lambda layers, x: layers.Lambda(lambda _: np.float32([[0.0, 0.25, 0.75]]), name="probabilities")(x))
    divided = head_of(model).divided(TEMPERATURE)
    [answer] = divided(IMAGES["pixels"][:1]).numpy()
    assert answer.tolist() == pytest.approx([0, 0.0603, 0.9397], abs=1e-3)  # 0.25^2.5 / (0.25^2.5 + 0.75^2.5)


@pytest.mark.parametrize(
    "end",
    [
        lambda layers, x: [layers.Dense(3)(x), layers.Dense(2)(x)],
        lambda layers, x: layers.Reshape((3, 4))(x),
    ],
    ids=["two outputs", "steps"],
)
def test_other_outputs_have_no_head(end):
    assert head_of(built(end)) is None
