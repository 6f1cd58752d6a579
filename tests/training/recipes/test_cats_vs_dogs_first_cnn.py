import numpy as np

from app.contract.tensor_spec import TensorSpec
from tests.training.studied import studied
from training.overrides import apply_overrides
from training.recipe.recipe import Signature
from training.recipes.cats_vs_dogs_first_cnn import RECIPE

SIGNATURE = Signature(input=TensorSpec(name="pixels", dtype="uint8", shape=(32, 32, 3)), classes=2)


def test_the_layers_are_those_that_are_taught_in_their_order():
    model = RECIPE.build(RECIPE.network, SIGNATURE)
    taught = model.get_layer("classifier").layers
    assert [type(layer).__name__ for layer in taught] == [
        "Rescaling",
        "Conv2D",
        "MaxPooling2D",
        "Flatten",
        "Dense",
        "Dense",
    ]
    _, convolution, pooling, _, dense, unit = (layer.get_config() for layer in taught)
    assert (convolution["filters"], convolution["kernel_size"], convolution["activation"]) == (32, (3, 3), "relu")
    assert (convolution["padding"], convolution["strides"], pooling["pool_size"]) == ("valid", (1, 1), (2, 2))
    assert (dense["units"], dense["activation"], unit["units"], unit["activation"]) == (128, "relu", 1, "sigmoid")
    assert model.count_params() == (27 + 1) * 32 + (15 * 15 * 32 + 1) * 128 + 129


def test_the_unit_says_dog_and_the_rest_is_cat():
    model = RECIPE.build(RECIPE.network, SIGNATURE)
    pixels = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    dog = model.get_layer("classifier")(pixels).numpy()
    np.testing.assert_allclose(model(pixels).numpy(), np.concatenate([1 - dog, dog], axis=1), rtol=0, atol=1e-6)


def test_it_learns_drawn_blobs_and_answers_one_image_alone_as_among_others(tmp_path, console):
    small = ["data.synthetic_count=96", "fitting.epochs=6", "network.filters=8", "network.units=16"]
    recipe = apply_overrides(RECIPE, small)
    splits = recipe.data.synthetic()
    found, _ = studied(recipe, splits, tmp_path, console, synthetic=True)
    assert found.missed == ()
    values = {figure.name: figure.value for figure in found.figures}
    assert values["the first cat is taken for"].startswith("cat, ")
    assert values["the first dog is taken for"].startswith("dog, ")
