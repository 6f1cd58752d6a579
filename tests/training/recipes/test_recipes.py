import numpy as np
import pytest

from training.datasets.splits import Generated
from training.overrides import apply_overrides, settings
from training.recipe.recipe import Recipe, Signature
from training.runs.catalogue import load_recipe, recipe_names

RECIPES = [load_recipe(name) for name in recipe_names()]
TRAINED = [each.name for each in RECIPES if isinstance(each, Recipe) and isinstance(each.data, Generated)]
FEW = {"data.synthetic_count=100", "data.rows=100", "data.speeches=2"}


def signature_of(recipe: Recipe) -> tuple[Signature, int]:
    """The signature with the largest vocabulary, and the width of the network's output."""
    known = {f"{path}=" for path, _ in settings(recipe)}
    small = apply_overrides(recipe, [few for few in FEW if few[: few.index("=") + 1] in known])
    splits = small.data.synthetic()
    feed = recipe.pipeline.bind(splits.train, classes=len(splits.labels))
    tensor = feed.input
    if tensor.is_variable:
        tensor = tensor.model_copy(update={"maximum": recipe.pipeline.vocabulary_size - 1})
    signature = Signature(input=tensor, classes=len(splits.labels), arrays=feed.arrays)
    if recipe.task.output == "values":
        return signature, splits.train.labels.shape[1]
    return signature, signature.classes or signature.id_count - 1


@pytest.mark.parametrize("name", TRAINED)
def test_a_network_takes_raw_input_answers_its_task_and_stays_within_its_target(name):
    recipe = load_recipe(name)
    signature, width = signature_of(recipe)
    model = recipe.build(recipe.network, signature)
    model = recipe.finish(recipe.network, model, signature, {})
    assert (model.input_names, model.output_names) == ([signature.input.name], [recipe.task.output])
    if recipe.targets.parameters is not None:
        assert model.count_params() <= recipe.targets.parameters
    shape = (3, *(9 if size == -1 else size for size in signature.input.shape))
    largest = min(signature.input.maximum or 255, 255)
    rows = np.random.default_rng(0).integers(1, largest, shape).astype(signature.input.dtype)
    answers = model(rows).numpy()
    assert answers.shape == (3, width)
    assert answers.dtype == np.float32
    if recipe.task.output == "probabilities":
        np.testing.assert_allclose(answers.sum(axis=1), 1.0, atol=1e-5)  # float32 softmax


@pytest.mark.parametrize("name", ["cats-vs-dogs-cnn", "imdb-sentiment-lstm"])  # one with all augmentations, one staged
def test_a_recipe_trains_on_its_synthetic_data(name, tmp_path, console):
    from training.fit.fit import fit

    recipe = load_recipe(name)
    small = ["data.synthetic_count=128", "fitting.epochs=1", "fitting.batch_size=64"]
    if name == "imdb-sentiment-lstm":
        small += ["network.bidirectional=false", "network.units=4"]
        small += ["network.places.pairs=97", "pipeline.max_length=24"]
    for stage in recipe.stages:
        small += [f"stages.{stage.name}.fitting.epochs=1", f"stages.{stage.name}.fitting.batch_size=64"]
    recipe = apply_overrides(recipe, small)
    splits = recipe.data.synthetic()
    feed = recipe.pipeline.bind(splits.train, classes=len(splits.labels))
    trained = fit(recipe, feed, splits, directory=tmp_path, console=console)
    assert np.isfinite(trained.progressed.history[0]["val_loss"])


def test_padding_does_not_change_the_predictions_of_the_review_classifier():
    recipe = load_recipe("imdb-sentiment-lstm")
    model = recipe.build(recipe.network, signature_of(recipe)[0])
    row = np.random.default_rng(1).integers(1, 19_999, (1, 12)).astype(np.int32)
    padded = np.pad(row, ((0, 0), (0, 20)))
    np.testing.assert_allclose(model(row).numpy(), model(padded).numpy(), atol=1e-6)  # float32, other batch shape


def test_the_review_classifier_s_embeddings_start_with_the_scores_of_single_words():
    from training.recipes.imdb_sentiment_lstm import EMBEDDING, WORDS, adopt_words, build_still

    recipe = load_recipe("imdb-sentiment-lstm")
    model = build_still(recipe.network, signature_of(recipe)[0])
    weights = np.random.default_rng(2).normal(size=(20_000, 1)).astype(np.float32)
    before = model.get_layer(EMBEDDING).get_weights()[0]
    adopt_words(recipe.network, model, {WORDS: [weights]})
    after = model.get_layer(EMBEDDING).get_weights()[0]
    np.testing.assert_array_equal(after[:, 1:], before[:, 1:])
    assert (after[:2, 0] == 0).all()
    assert after[2:, 0].std() == pytest.approx(recipe.network.word_deviation, rel=0.01)
    assert (np.sign(after[2:, 0]) == np.sign(weights[2:, 0])).all()
    assert not model.get_layer(EMBEDDING).trainable


def test_the_review_classifier_adds_the_scores_of_words_and_pairs_to_a_share_of_the_lstm():
    from training.network.ngrams import FACTORS, RATIOS

    recipe = apply_overrides(load_recipe("imdb-sentiment-lstm"), ["network.places.pairs=7", "network.score_limit=1.27"])
    signature = signature_of(recipe)[0]
    model = recipe.build(recipe.network, signature)
    scores = np.zeros((20_007, 1), np.float32)
    scores[[5, 6_000], 0] = 0.5, -0.2
    inherited = {RATIOS: [scores], FACTORS: [np.full_like(scores, 2.0)]}
    finished = recipe.finish(recipe.network, model, signature, inherited)
    rows = np.array([[5, 6_000, 5, 0], [7, 6_001, 1, 0]], np.int32)  # 6000 and above are in no pair
    lstm, answer = np.log(model(rows).numpy()), np.log(finished(rows).numpy())
    sums = np.array([2 * 0.5 - 2 * 0.2, 0.0])
    expected = 0.2 * (lstm[:, 1] - lstm[:, 0]) + sums
    np.testing.assert_allclose(answer[:, 1] - answer[:, 0], expected, atol=1e-5)  # float32 softmax
