import math

import pytest

from tests.training.tiny import image_recipe, text_recipe
from training.errors import SettingRefused
from training.network.dense_blocks import Dense
from training.overrides import apply_overrides, settings
from training.recipe.fitting import Fitting, Optimizer
from training.recipe.recipe import Stage
from training.runs.catalogue import load_recipe, recipe_names
from training.sources.image_folder import ImageFolder


def test_a_setting_is_replaced_and_parsed_by_its_type():
    recipe = apply_overrides(
        image_recipe(),
        [
            "optimizer.learning_rate=0.5",
            "optimizer.schedule.name=one-cycle",
            "fitting.epochs=7",
            "pipeline.augmentation.flip=true",
            "network.layers=3, 4",
            "optimizer.clip_norm=1",
        ],
    )
    assert recipe.optimizer.learning_rate == 0.5
    assert recipe.optimizer.schedule.name == "one-cycle"
    assert recipe.fitting.epochs == 7
    assert recipe.pipeline.augmentation.flip is True
    assert recipe.network.layers == (3, 4)
    assert recipe.optimizer.clip_norm == 1.0
    assert image_recipe().fitting.epochs == 3  # the original is untouched


def test_an_optional_setting_can_be_switched_off():
    recipe = apply_overrides(image_recipe(), ["fitting.patience=3"])
    assert apply_overrides(recipe, ["fitting.patience=none"]).fitting.patience is None


def test_an_unknown_setting_is_refused_with_the_known_ones():
    with pytest.raises(SettingRefused, match=r"^'xyz' is not a setting; there are: .*optimizer.learning_rate"):
        apply_overrides(image_recipe(), ["xyz=1"])


@pytest.mark.parametrize(
    ("assignment", "meant"),
    [
        ("optimizer.lerning_rate=1", "optimizer.learning_rate=1"),
        ("optimiser.learning_rate = 1", "optimizer.learning_rate=1"),
        ("learning-rate=1", "optimizer.learning_rate=1"),
        ("network.dropuot=0.5", "network.dropout=0.5"),
        ("epoch=2", "fitting.epochs=2"),
    ],
)
def test_a_misspelt_setting_is_answered_with_the_nearest_one(assignment, meant):
    with pytest.raises(SettingRefused, match=f"is not a setting; did you mean --set {meant}[?]$"):
        apply_overrides(image_recipe(), [assignment])


@pytest.mark.parametrize(
    ("assignment", "rule"),
    [
        ("fitting.epochs=many", "expected a whole number"),
        ("optimizer.learning_rate=fast", "expected a finite number"),
        ("optimizer.learning_rate=nan", "expected a finite number"),
        ("optimizer.learning_rate=-1", "learning_rate must be at least 0"),
        ("optimizer.epsilon=0", "epsilon must be above 0"),
        ("optimizer.clip_norm=-1", "clip_norm must be above 0, or none"),
        ("optimizer.weight_decay=-1", "weight_decay must be at least 0"),
        ("loss.label_smoothing=1", "label_smoothing must be at least 0 and below 1"),
        ("fitting.seed=-1", "seed must be at least 0 and below 4294967296"),
        ("pipeline.augmentation.warp=5", "warp must be at least 0 and at most 1"),
        ("pipeline.augmentation.brightness=inf", "expected a finite number"),
        ("pipeline.augmentation.cutout_fill=256", "cutout_fill must be at least 0 and at most 255"),
        ("optimizer.name=lion", "expected one of sgd, momentum, nesterov"),
        ("pipeline.augmentation.flip=perhaps", "expected true or false"),
        ("optimizer.schedule.warmup=1.5", "warmup must be at least 0 and below 1"),
        ("pipeline.augmentation.mixup=1.1", "mixup must be at least 0 and at most 1"),
        ("network.pair=1,2,3", "expected 2 values separated by commas"),
        ("network.pair=1,x", "expected a whole number"),
        ("fitting.epochs", "has no '='"),
        ("fitting.epochs=0", "epochs must be at least 1"),
        ("fitting.batch_size=0", "batch_size must be at least 1"),
        ("fitting.batch_size=9999999999", "batch_size must be at least 1 and at most 2147483647$"),
        ("fitting.validate_every=0", "validate_every must be at least 1"),
        ("fitting.checkpoint_every=-1", "checkpoint_every must be at least 1"),
        ("fitting.evaluation_batch_size=0", "evaluation_batch_size must be at least 1"),
        ("fitting.patience=0", "patience must be at least 1 and at most 2147483647, or none"),
        ("optimizer.momentum=1.5", "momentum must be at least 0 and at most 1"),
        ("optimizer.ema_momentum=-0.1", "ema_momentum must be at least 0 and at most 1, or none"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_the_rule(assignment, rule):
    with pytest.raises(SettingRefused, match=rule):
        apply_overrides(image_recipe(), [assignment])


@pytest.mark.parametrize(
    ("path", "listed"),
    [
        ("network.zzzzzzzzzz", "network.width, network.dropout, network.layers, network.pair$"),
        ("optimizer.schedule", "optimizer.schedule.name, optimizer.schedule.warmup, optimizer.schedule.final"),
    ],
)
def test_an_unknown_setting_is_refused_with_those_next_to_it(path, listed):
    with pytest.raises(SettingRefused, match=f"^{path!r} is not a setting; there are: {listed}"):
        apply_overrides(image_recipe(), [f"{path}=1"])


def test_an_assignment_without_a_value_is_refused_with_an_example_of_it():
    with pytest.raises(SettingRefused, match=r"^--set 'fitting.patience' has no '='; write for example --set .*=none$"):
        apply_overrides(image_recipe(), ["fitting.patience"])
    with pytest.raises(SettingRefused, match=r"^'epoch' is not a setting; did you mean --set fitting.epochs=VALUE[?]$"):
        apply_overrides(image_recipe(), ["epoch"])


def test_the_identity_of_a_recipe_cannot_be_overridden():
    for path in ("name", "build", "targets.test_accuracy", "pipeline.steps"):
        with pytest.raises(SettingRefused, match=f"^'{path}' is not a setting: the recipe fixes it; change it in the"):
            apply_overrides(image_recipe(), [f"{path}=1"])


def test_a_function_in_place_of_a_dataclass_is_not_a_setting():
    recipe = image_recipe(study=lambda subject: None)
    assert "study" not in dict(settings(recipe))
    with pytest.raises(SettingRefused, match="'study' is not a setting: the recipe fixes it"):
        apply_overrides(recipe, ["study=1"])


def test_a_stage_is_found_by_its_name():
    stage = Stage(name="bag", build=len, shared_layers=(), fitting=Fitting(epochs=1, batch_size=2))
    recipe = apply_overrides(text_recipe(stages=(stage,)), ["stages.bag.fitting.epochs=5"])
    assert recipe.stages[0].fitting.epochs == 5
    assert dict(settings(recipe))["stages.bag.fitting.epochs"] == 5


@pytest.mark.parametrize("name", recipe_names())
def test_every_setting_of_every_recipe_takes_a_value_or_refuses_it_in_one_sentence(name):
    recipe = load_recipe(name)
    for path, _ in settings(recipe):
        for value in ("nan", "-1", "0", "0.5", "1e308", "", ",", "none", "9" * 20):
            try:
                changed = apply_overrides(recipe, [f"{path}={value}"])
            except SettingRefused as refusal:
                assert str(refusal).startswith(f"--set {path}={value}: ")  # noqa: PT017 - others take the value
            else:
                assert path in dict(settings(changed))


def test_a_recipe_file_has_the_same_bounds_as_the_command_line():
    with pytest.raises(ValueError, match="each number of units must be at least 1"):
        Dense(units=(8, 0))
    with pytest.raises(ValueError, match="learning_rate must be at least 0"):
        Optimizer(learning_rate=math.nan)
    with pytest.raises(ValueError, match="split_seed must be at least 0 and below 4294967296"):
        ImageFolder(folder="photos", split_seed=-1)
