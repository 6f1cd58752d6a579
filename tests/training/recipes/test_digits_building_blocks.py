import numpy as np
import pytest

from tests.training.studied import studied
from training.overrides import apply_overrides
from training.recipe.recipe import Signature
from training.recipes import digits_building_blocks
from training.recipes.digits_building_blocks import RECIPE, WITHOUT, build, compared


def signature() -> Signature:
    splits = RECIPE.data.load()
    return Signature.of(RECIPE.pipeline.bind(splits.train, classes=10), classes=10)


@pytest.mark.parametrize("block", WITHOUT)
def test_each_network_without_a_block_differs_from_the_whole_in_that_block_only(block):
    recipe = apply_overrides(RECIPE, WITHOUT[block])
    parts = ("network", "pipeline", "optimizer", "loss", "fitting")
    changed = [part for part in parts if getattr(recipe, part) != getattr(RECIPE, part)]
    assert changed == [WITHOUT[block][0].partition(".")[0]]


def test_the_blocks_are_in_the_network_and_can_be_left_out():
    whole = [type(layer).__name__ for layer in build(RECIPE.network, signature()).layers]
    assert (whole.count("Conv2D"), whole.count("BatchNormalization"), whole.count("MaxPooling2D")) == (2, 3, 1)
    bare = apply_overrides(RECIPE, [*WITHOUT["convolutions"], *WITHOUT["batch normalisation"]])
    left = [type(layer).__name__ for layer in build(bare.network, signature()).layers]
    assert not {"Conv2D", "BatchNormalization", "MaxPooling2D"} & set(left)
    assert build(RECIPE.network, signature()).losses  # L2
    assert not build(apply_overrides(RECIPE, WITHOUT["L2"]).network, signature()).losses


def test_paired_differences_have_the_standard_error_of_their_mean():
    one, other = np.array([0.9, 0.8, 0.7]), np.array([0.8, 0.8, 0.9])
    difference, error = compared(one, other)
    assert difference == pytest.approx(-0.1 / 3)
    assert error == pytest.approx(np.std([0.1, 0.0, -0.2], ddof=1) / 3**0.5)
    assert compared(one, one - 0.1) == (pytest.approx(0.1), pytest.approx(0.0, abs=1e-12))


def test_real_digits_are_learned_and_a_network_that_cannot_descend_is_found(monkeypatch, tmp_path, console):
    monkeypatch.setattr(digits_building_blocks, "WITHOUT", {"descent": ("optimizer.learning_rate=0",)})
    small = [
        "fitting.epochs=3",
        "fitting.checkpoint_every=3",
        "network.convolutions=false",
        "network.batch_normalization=false",
    ]
    recipe = apply_overrides(RECIPE, [*small, *WITHOUT["augmentation"], "study.seeds=2", "study.at_least=0.8"])
    found, _ = studied(recipe, recipe.data.load(), tmp_path, console)
    assert found.missed == ()
    values = {figure.name: figure.value for figure in found.figures}
    assert values["all blocks"] > 0.8
    assert values["without descent"] < 0.3
    assert values["descent adds"] > 5 * values["standard error of what descent adds"]
    [picture] = found.pictures.values()
    assert picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
