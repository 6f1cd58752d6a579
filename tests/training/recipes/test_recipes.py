import numpy as np
import pytest

from app.contract.model_spec import TensorSpec
from training.recipe import OUTPUT_NAME, Signature, load_recipe, recipe_names

SIGNATURES = {
    "fashion-mnist-mlp": Signature(input=TensorSpec(name="pixels", dtype="uint8", shape=(28, 28)), classes=10),
    "fashion-mnist-cnn": Signature(input=TensorSpec(name="pixels", dtype="uint8", shape=(28, 28)), classes=10),
    "cats-vs-dogs-cnn": Signature(input=TensorSpec(name="pixels", dtype="uint8", shape=(32, 32, 3)), classes=2),
    "imdb-sentiment-lstm": Signature(
        input=TensorSpec(name="token_ids", dtype="int32", shape=(-1,), minimum=0, maximum=19_999), classes=2
    ),
}


@pytest.mark.parametrize("name", recipe_names())
def test_a_network_takes_raw_input_gives_probabilities_and_costs_no_more_than_its_target(name):
    recipe, signature = load_recipe(name), SIGNATURES[name]
    model = recipe.build(recipe.network, signature)
    assert (model.input_names, model.output_names) == ([signature.input.name], [OUTPUT_NAME])
    assert model.count_params() <= recipe.targets.parameters
    shape = (3, *(9 if size == -1 else size for size in signature.input.shape))
    rows = np.random.default_rng(0).integers(1, 255, shape).astype(signature.input.dtype)
    probabilities = model(rows).numpy()
    assert probabilities.shape == (3, signature.classes)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-5)  # float32 softmax


@pytest.mark.parametrize("name", ["cats-vs-dogs-cnn", "imdb-sentiment-lstm"])  # one with all augmentations, one staged
def test_a_recipe_trains_on_its_synthetic_data(name, tmp_path, console):
    from training.fit import fit
    from training.overrides import apply_overrides

    recipe = load_recipe(name)
    small = ["data.synthetic_count=128", "fitting.epochs=1", "fitting.batch_size=64"]
    if name == "imdb-sentiment-lstm":
        small += ["network.bidirectional=false", "network.units=4"]
    for stage in recipe.stages:
        small += [f"stages.{stage.name}.fitting.epochs=1", f"stages.{stage.name}.fitting.batch_size=64"]
    recipe = apply_overrides(recipe, small)
    splits = recipe.data.synthetic()
    feed = recipe.pipeline.bind(splits.train, classes=len(splits.labels))
    trained = fit(recipe, feed, splits, directory=tmp_path, console=console)
    assert np.isfinite(trained.progressed.history[0]["val_loss"])


def test_padding_does_not_change_what_the_review_classifier_says():
    recipe = load_recipe("imdb-sentiment-lstm")
    model = recipe.build(recipe.network, SIGNATURES["imdb-sentiment-lstm"])
    row = np.random.default_rng(1).integers(1, 19_999, (1, 12)).astype(np.int32)
    padded = np.pad(row, ((0, 0), (0, 20)))
    np.testing.assert_allclose(model(row).numpy(), model(padded).numpy(), atol=1e-6)  # float32, other batch shape


def test_the_review_classifier_s_embeddings_start_with_what_words_say_by_themselves():
    from training.recipes.imdb_sentiment_lstm import EMBEDDING, WORDS, adopt_words, build_still

    recipe = load_recipe("imdb-sentiment-lstm")
    model = build_still(recipe.network, SIGNATURES["imdb-sentiment-lstm"])
    weights = np.random.default_rng(2).normal(size=(20_000, 1)).astype(np.float32)
    before = model.get_layer(EMBEDDING).get_weights()[0]
    adopt_words(recipe.network, model, {WORDS: [weights]})
    after = model.get_layer(EMBEDDING).get_weights()[0]
    np.testing.assert_array_equal(after[:, 1:], before[:, 1:])
    assert (after[:2, 0] == 0).all()
    assert after[2:, 0].std() == pytest.approx(recipe.network.word_deviation, rel=0.01)
    assert (np.sign(after[2:, 0]) == np.sign(weights[2:, 0])).all()
    assert not model.get_layer(EMBEDDING).trainable
