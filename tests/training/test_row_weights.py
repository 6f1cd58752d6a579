"""Weights of rows: multiplied into the loss, and into nothing else; what cannot be a weight is refused with its row."""

from dataclasses import replace

import numpy as np
import pytest

from tests.training.several_heads import arrays, recipe, source
from tests.training.tiny import Given, number_recipe, plane_points
from training.data.class_weights import weigh_classes
from training.data.pipelines import ImagePipeline, TablePipeline, TextPipeline
from training.data.settings import ImageAugmentation, Span
from training.datasets.check import check_splits
from training.datasets.splits import Examples, Splits
from training.errors import DataUnusable, SettingRefused
from training.recipe.fitting import Fitting, Loss
from training.runs.record import Plan
from training.runs.run import run
from training.sources.image_table import ImageTable
from training.sources.table import Table
from training.sources.text_table import TextTable

ROWS = 12
WEIGHTS = np.arange(1, ROWS + 1, dtype=np.float32)
LABELS = np.arange(ROWS, dtype=np.int32) % 3
NAMES = ("a", "b", "c")


def weighted(instances, **changes):
    return Examples(**({"instances": instances, "labels": LABELS, "weights": WEIGHTS} | changes))


def fitted(recipe, directory, console):
    """The trained model, and the figures of its last epoch."""
    from training.fit.fit import fit

    directory.mkdir()
    splits = recipe.data.load()
    check_splits(splits)
    feed = recipe.pipeline.bind(splits.train, classes=splits.classes)
    trained = fit(recipe, feed, splits, directory=directory, console=console)
    return trained.model, trained.progressed.history[-1]


def test_rows_of_weight_0_teach_nothing_and_held_out_figures_are_unweighted(tmp_path, console):
    right, wrong = plane_points(64, 1), plane_points(64, 5)
    mixed = Examples(
        instances=np.concatenate([right.instances, wrong.instances]),
        labels=np.concatenate([right.labels, 9 - wrong.labels]),
        weights=np.repeat(np.float32([1, 0]), 64),
    )
    held_out = plane_points(20, 2)
    data = Given(train=mixed, validation=replace(held_out, weights=np.arange(20, dtype=np.float32)), test=held_out)
    fitting = Fitting(epochs=12, batch_size=16, monitor="val_loss", keep="last", watch=False)
    model, last = fitted(number_recipe(data=data, fitting=fitting), tmp_path / "run", console)
    errors = model.predict(held_out.instances, verbose=0) - held_out.labels
    assert np.abs(errors).max() < 0.2  # half of the rows say the opposite
    assert last["val_loss"] == pytest.approx(np.square(errors).mean(), rel=1e-3)  # float32


def pairs(feed, examples):
    """Label and weight of each row of one epoch, sorted."""
    found = []
    for _, targets, weights in feed.training(examples, Span(epochs=1, batch_size=4, seed=3)):
        found += zip(targets.numpy().argmax(axis=1).tolist(), weights.numpy().tolist(), strict=True)
    return sorted(found, key=lambda pair: pair[1])


EXPECTED = list(zip(LABELS.tolist(), WEIGHTS.tolist(), strict=True))


@pytest.mark.parametrize(
    ("pipeline", "instances"),
    [
        (TextPipeline(vocabulary_size=10, max_length=8, bucket=4), tuple(f"word {row}" for row in range(ROWS))),
        (TablePipeline(), np.array([(row,) for row in range(ROWS)], [("x", np.float32)])),
        (ImagePipeline(steps=()), np.zeros((ROWS, 4, 4), np.uint8)),
    ],
)
def test_each_row_keeps_its_weight_in_shuffled_batches(pipeline, instances):
    examples = weighted(instances)
    feed = pipeline.bind(examples, classes=3)
    assert pairs(feed, examples) == EXPECTED
    assert all(len(batch) == 2 for batch in feed.watched(examples, batch_size=4))


def test_images_that_are_blended_get_the_blend_of_their_weights():
    examples = weighted(
        np.zeros((ROWS, 4, 4), np.uint8), labels=np.eye(3, dtype=bool)[LABELS], weights=np.float32(1 + LABELS)
    )
    pipeline = ImagePipeline(steps=(), augmentation=ImageAugmentation(mixup=1.0))
    [batch] = pipeline.bind(examples, classes=3).training(examples, Span(epochs=1, batch_size=ROWS, seed=3))
    _, targets, weights = (each.numpy() for each in batch)
    assert 0 < targets.max(axis=1).min() < 1
    np.testing.assert_allclose(weights, targets @ [1, 2, 3], rtol=1e-5)  # the same blend; float32


def test_weights_of_rows_and_of_classes_are_multiplied():
    labels = np.int32([0, 0, 0, 1] * 3)
    examples = weighted(np.zeros((ROWS, 4, 4), np.uint8), labels=labels)
    splits = Splits(
        name="x", form="x", files={}, labels=("a", "b"), train=examples, validation=examples, read_test=None
    )
    batches = (
        ImagePipeline(steps=()).bind(examples, classes=2).training(examples, Span(epochs=1, batch_size=ROWS, seed=1))
    )
    [(_, targets, weights)] = weigh_classes(batches, splits)
    of_class = np.where(targets.numpy().argmax(axis=1) == 0, 12 / 18, 12 / 6)
    np.testing.assert_allclose(sorted(weights.numpy() / of_class), WEIGHTS, rtol=1e-6)  # float32


def test_heads_share_the_weight_of_a_row(tmp_path, console):
    wrong = np.arange(200) % 2 == 0
    kinds = np.where(wrong, "bright", arrays()["kind"])
    data = source(lambda: {**arrays(), "kind": kinds, "weight": 1.0 - wrong}, weight="weight")
    model, _ = fitted(
        recipe(data=data, fitting=Fitting(epochs=5, batch_size=10, keep="last", watch=False)), tmp_path / "x", console
    )
    kind, *_ = model.predict({name: np.float32(arrays()[name]) for name in ("pixels", "numbers")}, verbose=0)
    assert (kind.argmax(axis=1) == (arrays()["kind"] == "dark")).mean() > 0.95  # half of the dark rows say bright


@pytest.fixture
def table(tmp_path):
    """Writes a CSV of 30 rows with these weights in its first rows, and gives the three sources that read it."""
    import PIL.Image

    def write(*first):
        weights = [*first, *["1"] * (30 - len(first))] if first != ("0",) else ["0"] * 30
        rows = "".join(f"p{row}.png,text {row},{row},{NAMES[row % 3]},{each}\n" for row, each in enumerate(weights))
        (tmp_path / "rows.csv").write_text(f"file,text,x,kind,weight\n{rows}")
        for row in range(30):
            PIL.Image.new("L", (4, 4), row).save(tmp_path / f"p{row}.png")
        shared = {"file": str(tmp_path / "rows.csv"), "target": "kind", "weight": "weight"}
        return [
            Table(predicts="classes", numbers=("x",), **shared),
            TextTable(text="text", **shared),
            ImageTable(picture="file", **shared),
        ]

    return write


def test_a_column_of_a_file_gives_the_weights(table):
    for each in table("2", "0", "0.5"):
        splits = each.load()
        parts = (splits.train, splits.validation, splits.read_test())
        assert sorted(np.concatenate([part.weights for part in parts])) == [0, 0.5, *[1] * 27, 2]
        check_splits(splits)


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        (("1", "-0.5"), r"rows.csv: column 'weight': row 2 has the weight -0.5; a weight is 0 or more"),
        (("1", "1", ""), r"rows.csv: column 'weight': row 3 has the weight nan; a weight is 0 or more"),
        (
            ("much",),
            r"rows.csv: row 1: column 'weight' has 'much', which is not a finite number; a weight is 0 or more",
        ),
        (("0",), r"rows.csv: column 'weight': all 30 weights are 0, so no row would be learned from"),
    ],
)
def test_a_weight_that_is_none_is_refused_with_its_file_and_row(weights, sentence, table):
    for each in table(*weights):
        with pytest.raises(DataUnusable, match=sentence):
            each.load()


def test_a_weight_that_is_also_something_else_is_refused(table):
    one, *_ = table("1")
    with pytest.raises(DataUnusable, match="the weight 'x' is also a column to predict from; remove it"):
        replace(one, weight="x").load()
    with pytest.raises(DataUnusable, match="has no column 'wait'; did you mean 'weight'"):
        replace(one, weight="wait").load()


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        (np.where(np.arange(200) == 6, -1, 1), "'weight': row 7 has the weight -1; a weight is 0 or more"),
        (np.where(np.arange(200) == 6, np.nan, 1), "'weight': row 7 has the weight nan"),
        (np.zeros(200), "'weight': all 200 weights are 0"),
        (np.ones((200, 2)), r"weights have shape \(200, 2\); one number for each row is expected"),
        (np.full(200, "x"), "the weights 'weight' have dtype <U1; numbers are expected"),
    ],
)
def test_an_array_that_is_no_weight_is_refused_with_its_row(weights, sentence):
    def made():
        return {**arrays(), "weight": weights}

    with pytest.raises(DataUnusable, match=f"made: .*{sentence}"):
        source(made, weight="weight").load()


def test_a_training_part_without_weight_is_refused():
    examples = weighted(tuple(map(str, range(ROWS))), weights=np.zeros(ROWS, np.float32))
    splits = Splits(
        name="x", form="x", files={}, labels=NAMES, train=examples, validation=examples.take(WEIGHTS[:0].astype(int)),
        read_test=None,
    )  # fmt: skip
    with pytest.raises(DataUnusable, match="x: the training part: all 12 weights are 0"):
        check_splits(splits)


def test_a_loss_of_whole_batches_has_no_weights_of_rows(tmp_path, console):
    points = plane_points(64, 1)
    nothing = plane_points(0, 0)
    data = Given(train=replace(points, weights=np.ones(64, np.float32)), validation=nothing, test=nothing)
    with pytest.raises(SettingRefused, match="the loss root-mean-squared-error is one number for a batch"):
        run(
            number_recipe(data=data, loss=Loss(name="root-mean-squared-error")),
            Plan(),
            directory=tmp_path,
            console=console,
        )
