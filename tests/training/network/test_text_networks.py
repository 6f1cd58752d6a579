import functools

import numpy as np
import pytest

from app.contract.tensor_spec import TensorSpec
from training.export.padding_check import padding_counts
from training.network.text_networks import TextNetwork, build_text_network
from training.recipe.recipe import Signature

NAMES = ("bag", "cnn", "lstm", "gru")
SIGNATURE = Signature(input=TensorSpec(name="token_ids", dtype="int32", shape=(-1,), minimum=0, maximum=19), classes=3)


@functools.cache  # each traces its graph once
def build(name):
    return build_text_network(TextNetwork(name=name, embedding=4, units=5), SIGNATURE)


@pytest.mark.parametrize("name", NAMES)
def test_texts_of_any_length_get_probabilities(name):
    model = build(name)
    assert (model.input_names, model.output_names) == (["token_ids"], ["probabilities"])
    for length in (1, 2, 9):
        answers = model.predict(np.random.default_rng(0).integers(1, 20, (4, length)).astype(np.int32), verbose=0)
        assert answers.shape == (4, 3)
        np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_padding_changes_no_answer(name):
    assert not padding_counts(build(name), id_count=20, longest=30, trained=False)


@pytest.mark.parametrize(("name", "matters"), [("bag", False), ("cnn", True), ("lstm", True), ("gru", True)])
def test_the_order_of_words_matters_to_all_but_the_bag(name, matters):
    model = build(name)
    words = np.arange(2, 12, dtype=np.int32)[None]
    one, other = model.predict(words, verbose=0), model.predict(words[:, ::-1].copy(), verbose=0)
    assert np.allclose(one, other, atol=1e-6) != matters


@pytest.mark.parametrize("settings", [{"units": 0}, {"embedding": 0}, {"dropout": 1.0}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match=r"at least 1|below 1"):
        TextNetwork(**settings)
