import csv
import dataclasses
import json
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.forked_training import ForkedTraining
from tests.training.tiny import build_bag, image_recipe, text_recipe, train
from training.errors import SettingRefused, TrainingDiverged
from training.fit.callbacks import AveragedWeights
from training.fit.run_files import read_weights
from training.recipe.fitting import Fitting, Optimizer, Schedule
from training.recipe.recipe import OUTPUT_NAME, Stage


def history(directory: Path) -> list[dict[str, str]]:
    with (directory / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_writes_its_history_logs_and_weights_into_its_directory(tmp_path, console):
    recipe = image_recipe(epochs=3)
    trained = train(recipe, tmp_path, console)
    rows = history(tmp_path)
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert float(rows[-1]["val_accuracy"]) > 0.9
    assert {"loss", "accuracy", "val_loss", "learning_rate", "seconds"} <= rows[0].keys()
    assert list((tmp_path / "tensorboard").rglob("events.out.tfevents.*"))
    for kept, weight in zip(read_weights(tmp_path / "weights.npz"), trained.model.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, weight)
    printed = console.file.getvalue()
    assert "epoch   3/3" in printed
    assert "validation accuracy" in printed


def test_the_progress_bar_shows_epoch_loss_and_accuracy(tmp_path):
    import io

    from rich.console import Console

    terminal = Console(file=io.StringIO(), force_terminal=True, width=120)
    train(image_recipe(epochs=1), tmp_path, terminal)
    shown = terminal.file.getvalue()
    assert "epoch 1/1" in shown
    assert "loss" in shown
    assert "accuracy" in shown


def test_the_same_seed_gives_the_same_weights_and_another_seed_does_not(tmp_path, console):
    recipe = image_recipe(epochs=1)
    other = dataclasses.replace(recipe, fitting=dataclasses.replace(recipe.fitting, seed=1))
    one, two, three = (
        train(each, tmp_path / name, console).model.get_weights()
        for each, name in ((recipe, "a"), (recipe, "b"), (other, "c"))
    )
    np.testing.assert_array_equal(one[0], two[0])
    assert np.abs(one[0] - three[0]).max() > 0.01


def test_the_best_epoch_s_weights_are_kept_and_training_stops_when_no_epoch_is_better(tmp_path, console):
    rising = Optimizer(name="sgd", learning_rate=1e-12)  # nothing improves after the first epoch
    recipe = image_recipe(optimizer=rising, fitting=Fitting(epochs=9, batch_size=16, patience=2, monitor="val_loss"))
    recipe = dataclasses.replace(recipe, fitting=dataclasses.replace(recipe.fitting, minimum_delta=1e-3))
    trained = train(recipe, tmp_path, console)
    assert trained.kept_epoch == 1
    assert trained.progressed.epoch == 3


def test_the_last_epoch_s_weights_are_kept_when_the_recipe_sets_it(tmp_path, console):
    recipe = image_recipe(fitting=Fitting(epochs=2, batch_size=16, keep="last"))
    assert train(recipe, tmp_path, console).kept_epoch == 2


def test_the_validation_set_may_be_evaluated_less_often(tmp_path, console):
    train(image_recipe(fitting=Fitting(epochs=5, batch_size=32, validate_every=2)), tmp_path, console)
    looked = [row["epoch"] for row in history(tmp_path) if row["val_loss"]]
    assert looked == ["2", "4", "5"]


def test_a_diverging_run_is_ended_with_advice(tmp_path, console):
    recipe = image_recipe(optimizer=Optimizer(name="sgd", learning_rate=1e30))
    with pytest.raises(TrainingDiverged, match=r"loss became nan at step \d+.*lower optimizer.learning_rate"):
        train(recipe, tmp_path, console)


def test_a_batch_larger_than_the_training_part_is_refused(tmp_path, console):
    with pytest.raises(SettingRefused, match="batch_size is 500; it must be at most 128, the number"):
        train(image_recipe(fitting=Fitting(epochs=1, batch_size=500)), tmp_path, console)


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({"descent": "batch"}, 1),
        ({"descent": "stochastic"}, 128),
        ({"descent": "mini-batch", "batch_size": 16}, 8),
        ({"descent": "mini-batch", "batch_size": 50}, 2),  # whole batches only
    ],
)
def test_an_epoch_has_as_many_steps_as_the_descent_sets(settings, steps, tmp_path, console):
    trained = train(image_recipe(fitting=Fitting(**({"epochs": 2, "batch_size": 1000} | settings))), tmp_path, console)
    assert int(trained.model.optimizer.iterations) == 2 * steps


def test_averaged_weights_are_validated_and_kept(tmp_path, console):
    recipe = image_recipe(
        optimizer=Optimizer(name="sgd", learning_rate=0.5, ema_momentum=0.99),
        fitting=Fitting(epochs=2, batch_size=16, keep="last"),
    )
    averaged = train(recipe, tmp_path / "averaged", console)
    plain = dataclasses.replace(recipe, optimizer=dataclasses.replace(recipe.optimizer, ema_momentum=None))
    raw = train(plain, tmp_path / "raw", console)
    assert np.abs(averaged.model.get_weights()[0] - raw.model.get_weights()[0]).max() > 1e-4
    splits = recipe.data.load()
    feed = recipe.pipeline.bind(splits.train, classes=2)
    dataset, _ = feed.evaluation(splits.validation, batch_size=40)
    loss, _ = averaged.model.evaluate(dataset, verbose=0)
    # The last validation of the run measured these very weights.
    assert loss == pytest.approx(float(history(tmp_path / "averaged")[-1]["val_loss"]), rel=1e-5)


def test_the_average_follows_its_formula():
    import tensorflow as tf
    import tf_keras

    model = tf_keras.Sequential([tf_keras.layers.Input((1,)), tf_keras.layers.Dense(1, use_bias=False)])
    model.layers[0].set_weights([np.array([[0.0]], np.float32)])
    averaged = AveragedWeights(0.5)
    averaged.set_model(model)
    model.layers[0].set_weights([np.array([[1.0]], np.float32)])
    averaged.on_train_batch_end(0)
    keep = 2 / 11  # (1 + 1) / (10 + 1) is below 0.5
    assert float(tf.squeeze(averaged.averages[0])) == pytest.approx(1 - keep)


def test_a_stage_hands_its_layers_to_the_network(tmp_path, console):
    stage = Stage(
        name="bag",
        build=build_bag,
        shared_layers=("embedding",),
        optimizer=Optimizer(learning_rate=0.05),
        fitting=Fitting(epochs=1, batch_size=16, keep="last"),
        max_length=12,
    )
    still = Optimizer(name="sgd", learning_rate=0.0)
    recipe = text_recipe(build=build_bag, stages=(stage,), optimizer=still)
    trained = train(recipe, tmp_path, console)
    bag = read_weights(tmp_path / "bag" / "weights.npz")
    np.testing.assert_array_equal(trained.model.get_layer("embedding").get_weights()[0], bag[0])
    assert trained.seconds > trained.progressed.seconds


def test_a_stage_with_data_of_its_own_says_how_many_rows_it_has(tmp_path, console):
    own = replace(image_recipe().data, rows=32)
    fitting = Fitting(epochs=1, batch_size=16, keep="last")
    stages = tuple(
        Stage(name=name, build=image_recipe().build, shared_layers=(), fitting=fitting, data=data)
        for name, data in (("own", own), ("shared", None))
    )
    train(image_recipe(epochs=1, stages=stages), tmp_path, console)
    printed = console.file.getvalue()
    assert "stage own\ntiny (drawn): 32 to train, 40 to validate\n" in printed
    assert printed.count(" to train, ") == 1


def build_maximum(network, signature):
    """The maximum over all steps, those of padding included."""
    import tf_keras
    from tf_keras import layers

    ids = layers.Input((None,), dtype="int32", name=signature.input.name)
    x = layers.Embedding(signature.id_count, network.width, mask_zero=True, name="embedding")(ids)
    x = layers.GlobalMaxPooling1D(name="top")(x)
    return tf_keras.Model(ids, layers.Dense(signature.classes, activation="softmax", name=OUTPUT_NAME)(x))


@pytest.mark.parametrize("staged", [False, True])
def test_a_network_that_counts_padding_is_refused_before_anything_is_trained(staged, tmp_path, console):
    fitting = Fitting(epochs=1, batch_size=16)
    stage = Stage(name="bag", build=build_bag, shared_layers=("embedding",), optimizer=Optimizer(), fitting=fitting)
    with pytest.raises(SettingRefused, match=r"tiny-texts: padding changes .* layer 'top' \(GlobalMaxPooling1D\)"):
        train(text_recipe(build=build_maximum, stages=(stage,) if staged else ()), tmp_path, console)
    assert list(tmp_path.iterdir()) == []


def build_stateful(network, signature):
    """A layer that keeps its state from batch to batch."""
    import tf_keras
    from tf_keras import layers

    ids = layers.Input(batch_shape=(16, None), dtype="int32", name=signature.input.name)
    x = layers.Embedding(signature.id_count, network.width, mask_zero=True)(ids)
    x = layers.Bidirectional(layers.GRU(2, stateful=True, name="memory"))(x)
    return tf_keras.Model(ids, layers.Dense(signature.classes, activation="softmax", name=OUTPUT_NAME)(x))


def test_a_network_that_remembers_earlier_rows_is_refused_before_it_is_trained(tmp_path, console):
    with pytest.raises(SettingRefused, match=r"tiny-texts: layer '\w*memory' \(GRU\) has stateful=True, so that"):
        train(text_recipe(build=build_stateful), tmp_path, console)


def test_a_stage_that_counts_padding_is_refused_before_anything_is_trained(tmp_path, console):
    fitting = Fitting(epochs=1, batch_size=16)
    stages = [
        Stage(name=name, build=build, shared_layers=("embedding",), optimizer=Optimizer(), fitting=fitting)
        for name, build in (("bag", build_bag), ("top", build_maximum))
    ]
    wrong = r"tiny-texts: padding changes the answers of the network of stage 'top', .* layer 'top' "
    with pytest.raises(SettingRefused, match=wrong):
        train(text_recipe(stages=tuple(stages)), tmp_path, console)
    assert list(tmp_path.iterdir()) == []


def maximum_of_trained(network, model, signature, inherited):
    """The trained embedding, shared, and the maximum over all steps, those of padding included."""
    import tf_keras
    from tf_keras import layers

    ids = layers.Input((None,), dtype="int32", name=signature.input.name)
    x = layers.GlobalMaxPooling1D(name="late")(model.get_layer("embedding")(ids))
    return tf_keras.Model(ids, layers.Dense(signature.classes, activation="softmax", name=OUTPUT_NAME)(x))


@pytest.mark.parametrize("staged", [False, True])
def test_a_finish_that_counts_padding_is_refused_before_anything_is_trained(staged, tmp_path, console):
    fitting = Fitting(epochs=1, batch_size=16)
    stage = Stage(name="bag", build=build_bag, shared_layers=("embedding",), optimizer=Optimizer(), fitting=fitting)
    recipe = text_recipe(build=build_bag, stages=(stage,) if staged else ())
    wrong = r"tiny-texts: padding changes the answers of the finished network, .* layer 'late' \(GlobalMaxPooling1D\)"
    with pytest.raises(SettingRefused, match=wrong):
        train(replace(recipe, finish=maximum_of_trained), tmp_path, console)
    assert list(tmp_path.iterdir()) == []


KILLED = """
import sys
from pathlib import Path
from rich.console import Console
from tests.training.fit.test_fit import interrupted_recipe
from tests.training.tiny import train
from training.environment import quiet_tensorflow
quiet_tensorflow()
train(interrupted_recipe(), Path(sys.argv[1]), Console())
"""


def interrupted_recipe():
    return image_recipe(
        epochs=12,
        optimizer=Optimizer(
            name="adam", learning_rate=0.01, schedule=Schedule(name="cosine", warmup=0.2), ema_momentum=0.9
        ),
    )


def test_a_killed_run_continues_where_it_was(tmp_path, console):
    directory = tmp_path / "run"
    state, script = directory / "state.json", tmp_path / "start.py"
    script.write_text(KILLED)
    with ForkedTraining([script, directory], cwd=tmp_path) as process:
        deadline = time.monotonic() + 60
        while not (state.exists() and json.loads(state.read_text())["epoch"] >= 2):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = json.loads(state.read_text())
    assert not before["finished"]

    trained = train(interrupted_recipe(), directory, console)
    assert f"resuming after epoch {before['epoch']} of 12" in console.file.getvalue()
    resumed = trained.progressed.history
    assert [row["epoch"] for row in resumed] == list(range(1, 13))
    assert resumed[: before["epoch"]] == before["history"]

    whole = train(interrupted_recipe(), tmp_path / "whole", console)
    # Weights, averages, optimiser state and schedule were restored: the figures equal those of an uninterrupted run.
    for row, expected in zip(resumed, whole.progressed.history, strict=True):
        for figure in ("loss", "val_loss", "learning_rate"):
            assert row[figure] == pytest.approx(expected[figure], rel=1e-4)


def test_a_finished_run_is_not_trained_again(tmp_path, console):
    first = train(image_recipe(epochs=1), tmp_path, console)
    again = train(image_recipe(epochs=1), tmp_path, console)
    assert again.progressed.history == first.progressed.history
    np.testing.assert_array_equal(again.model.get_weights()[0], first.model.get_weights()[0])


def test_a_run_killed_after_its_last_epoch_is_finished_by_resuming(tmp_path, console):
    first = train(image_recipe(epochs=1), tmp_path, console)
    state = json.loads((tmp_path / "state.json").read_text())
    (tmp_path / "state.json").write_text(json.dumps({**state, "finished": False}))
    again = train(image_recipe(epochs=1), tmp_path, console)
    assert again.progressed.finished
    np.testing.assert_array_equal(again.model.get_weights()[0], first.model.get_weights()[0])
