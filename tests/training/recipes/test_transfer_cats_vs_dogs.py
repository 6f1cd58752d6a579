import io
import json

import numpy as np
import pytest
from rich.console import Console

from app.contract.tensor_spec import TensorSpec
from training.datasets.cifar10 import OTHER_LABELS
from training.errors import SettingRefused
from training.fit.run_files import read_weights
from training.fit.train_network import WEIGHTS_FILE
from training.overrides import apply_overrides
from training.recipe.recipe import OUTPUT_NAME, Signature
from training.recipes.transfer_cats_vs_dogs import HEAD, PRETRAIN, RECIPE, build, build_frozen, gain
from training.runs.record import Plan
from training.runs.run import run

TINY = apply_overrides(
    RECIPE,
    [
        "network.filters=3,3,4,4,5",
        "data.synthetic_count=64",
        "stages.pretrain.data.synthetic_count=64",
        "stages.pretrain.fitting.epochs=2",
        "stages.pretrain.fitting.batch_size=16",
        "stages.head.fitting.epochs=2",
        "stages.head.fitting.batch_size=16",
        "fitting.epochs=1",
        "fitting.batch_size=16",
        "optimizer.learning_rate=0",  # so that the weights of the head stage stay unchanged
        "study.labelled=16",
        "study.repeats=2",
        "study.steps=12",
    ],
)
SIGNATURES = {
    classes: Signature(input=TensorSpec(name="pixels", dtype="uint8", shape=(32, 32, 3)), classes=classes)
    for classes in (2, 8)
}
CONVOLUTIONS = [f"convolution_{number}" for number in range(1, 6)]
NORMALISATIONS = [f"normalisation_{number}" for number in range(1, 6)]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """The three steps and the study, a few steps each."""
    directory = tmp_path_factory.mktemp("transfer")
    return run(TINY, Plan(dataset="synthetic"), directory=directory, console=Console(file=io.StringIO(), width=200))


def trained(directory, *, classes, make=build):
    """Layer name -> weights that a training in ``directory`` kept."""
    model = make(TINY.network, SIGNATURES[classes])
    model.set_weights(read_weights(directory / WEIGHTS_FILE))
    return {layer.name: layer.get_weights() for layer in model.layers if layer.get_weights()}


def accuracy(directory):
    """Of the network that a training in ``directory`` kept, on the validation part, measured by its predictions."""
    model = build(TINY.network, SIGNATURES[2])
    model.set_weights(read_weights(directory / WEIGHTS_FILE))
    validation = TINY.data.synthetic().validation
    return (model.predict(validation.instances, verbose=0).argmax(axis=1) == validation.labels).mean()


def equal(some, others, names) -> bool:
    return all(np.array_equal(a, b) for name in names for a, b in zip(some[name], others[name], strict=True))


def state(directory):
    return json.loads((directory / "state.json").read_text())


def steps(directory, *, rows, batch_size) -> int:
    return state(directory)["epoch"] * (rows // batch_size)


def test_weights_of_the_stage_with_eight_classes_are_passed_to_the_head_and_stay_frozen(outcome):
    before = trained(outcome.directory / PRETRAIN, classes=8)
    after = trained(outcome.directory / HEAD, classes=2, make=build_frozen)
    assert before[OUTPUT_NAME][0].shape == (5, len(OTHER_LABELS))
    assert equal(before, after, [*CONVOLUTIONS, *NORMALISATIONS])
    start = build(TINY.network, SIGNATURES[8])
    assert not equal(before, {layer.name: layer.get_weights() for layer in start.layers}, CONVOLUTIONS)
    # The statistics of the pictures were learned on the eight classes as well.
    assert all(np.abs(before[name][2]).max() > 0 for name in NORMALISATIONS)


def test_only_the_new_layer_learns_at_the_head():
    frozen, free = build_frozen(TINY.network, SIGNATURES[2]), build(TINY.network, SIGNATURES[2])
    assert [weight.shape.as_list() for weight in frozen.trainable_weights] == [[5, 2], [2]]
    assert len(free.trainable_weights) == 2 + 5 + 2 * 5
    assert frozen.count_params() == free.count_params()


def test_the_head_learns(outcome):
    losses = [row["loss"] for row in state(outcome.directory / HEAD)["history"]]
    assert len(losses) == 2
    assert losses[1] < losses[0]


def test_fine_tuning_starts_from_the_body_and_the_head_and_may_move_both(outcome):
    head = trained(outcome.directory / HEAD, classes=2, make=build_frozen)
    last = trained(outcome.directory, classes=2)
    assert equal(head, last, [*CONVOLUTIONS, OUTPUT_NAME])
    # The learning rate is 0 here, but the batch statistics follow the cats and dogs.
    assert not equal(head, last, NORMALISATIONS)


def test_each_number_of_labels_starts_from_the_same_body_and_takes_as_many_steps_as_from_scratch(outcome):
    body = trained(outcome.directory / PRETRAIN, classes=8)
    for repeat in range(2):
        few, scratch = outcome.directory / f"transfer-16-{repeat}", outcome.directory / f"scratch-16-{repeat}"
        kept = (few / PRETRAIN / WEIGHTS_FILE).read_bytes()
        assert kept == (outcome.directory / PRETRAIN / WEIGHTS_FILE).read_bytes()
        assert equal(body, trained(few / HEAD, classes=2, make=build_frozen), [*CONVOLUTIONS, *NORMALISATIONS])
        assert sorted(path.name for path in scratch.iterdir() if path.is_dir()) == ["checkpoint", "tensorboard"]
        assert not equal(body, trained(scratch, classes=2), CONVOLUTIONS[:1])
        taken = steps(few / HEAD, rows=16, batch_size=4) + steps(few, rows=16, batch_size=4)
        assert taken == steps(scratch, rows=16, batch_size=4) == 12


def test_the_pre_training_is_done_once_for_all_numbers_of_labels(outcome):
    assert state(outcome.directory / "transfer-16-1" / PRETRAIN) == state(outcome.directory / PRETRAIN)


def test_both_ways_are_compared_in_pairs_at_each_number_of_labels(outcome):
    found = {figure.name: figure for figure in outcome.findings.figures}
    ways = {"transferred": "transfer-16", "from scratch": "scratch-16"}
    pairs = np.array(
        [[accuracy(outcome.directory / f"{folder}-{repeat}") for folder in ways.values()] for repeat in range(2)]
    )
    for way, name in enumerate(ways):
        assert found[f"{name}, 16 labelled"].value == pytest.approx(pairs[:, way].mean())
    assert found["gain, 16 labelled"].value == pytest.approx((pairs[:, 0] - pairs[:, 1]).mean())
    assert found["transferred, 64 labelled"].value == outcome.validation.accuracy
    assert found["from scratch, 64 labelled"].value == accuracy(outcome.directory / "scratch-64")
    assert [name for name, figure in found.items() if figure.holds is not None] == ["gain, 16 labelled"]
    [picture] = outcome.findings.pictures.values()
    assert picture.read_bytes().startswith(b"\x89PNG")


def gained(differences, *, expected):
    """Figures of pairs with these differences in accuracy."""
    scratch = np.array([0.60, 0.50, 0.55, 0.65])
    pairs = np.stack([scratch + np.array(differences), scratch], axis=1)
    return {figure.name: figure for figure in gain("few", pairs, expected=expected)}


def test_a_gain_must_exceed_three_standard_errors_of_its_paired_differences():
    clear = gained([0.05, 0.06, 0.05, 0.06], expected=True)
    assert clear["gain, few"].value == pytest.approx(0.055)
    assert clear["standard error of the gain, few"].value == pytest.approx(0.01 / 2 / 3**0.5)
    assert clear["gain, few"].holds
    assert clear["repeats with a gain, few"].value == "4 of 4"
    unclear = gained([0.2, -0.1, 0.1, 0.0], expected=True)
    assert unclear["gain, few"].value == pytest.approx(0.05)
    assert not unclear["gain, few"].holds
    assert gained([0.0, 0.0, 0.0, 0.0], expected=False)["gain, few"].holds is None


def test_each_repeat_has_other_labelled_images_and_another_seed_for_both_ways():
    seen, seeds = [], []
    for repeat in range(3):
        for make in (TINY.study._with_labels, TINY.study._from_scratch):
            recipe = make(TINY, 16, repeat)
            rows = {image.tobytes() for image in recipe.data.synthetic().train.instances}
            seen.append(rows)
            seeds.append(recipe.fitting.seed)
    assert all(len(rows) == 16 for rows in seen)
    assert seen[::2] == seen[1::2]
    assert not (seen[0] & seen[2]) | (seen[2] & seen[4])
    assert seeds == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(("size", "batch_size"), [(100, 25), (1000, 64), (8000, 64)])
def test_as_published_every_number_of_labels_gets_as_many_steps(size, batch_size):
    study, recipe = RECIPE.study, RECIPE
    with_labels, scratch = study._with_labels(recipe, size, 0), study._from_scratch(recipe, size, 0)
    fittings = [with_labels.stages[1].fitting, with_labels.fitting, scratch.fitting]
    assert [fitting.batch_size for fitting in fittings] == [batch_size] * 3
    head, tuning, alone = (fitting.epochs * (size // batch_size) for fitting in fittings)
    assert head + tuning == alone == pytest.approx(1500, rel=0.05)
    if size == 8000:
        main = (recipe.stages[1].fitting.epochs + recipe.fitting.epochs) * (size // recipe.fitting.batch_size)
        assert main == alone
    assert with_labels.stages[0] == recipe.stages[0]
    assert scratch.stages == ()
    assert with_labels.data.labelled_per_class == scratch.data.labelled_per_class == size // 2


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("study.labelled=4,100", "each number must be at least 8"),
        ("study.repeats=1", "repeats must be at least 2 and at most 50"),
        ("network.filters=8,16", "the network has 5 convolutions"),
    ],
)
def test_settings_that_would_fail_after_the_training_are_refused_before_it(setting, sentence):
    with pytest.raises(SettingRefused, match=sentence):
        apply_overrides(RECIPE, [setting])
