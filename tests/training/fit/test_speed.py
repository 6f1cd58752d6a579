"""Settings of speed: XLA, half precision, several steps per call."""

import csv
import dataclasses

import numpy as np
import pytest

from tests.training.tiny import Network, build_bag, image_recipe, number_recipe, text_recipe, train
from training.errors import SettingRefused
from training.recipe.fitting import Fitting, Optimizer


def with_fitting(recipe, **changes):
    return dataclasses.replace(recipe, fitting=dataclasses.replace(recipe.fitting, **changes))


def history(directory):
    with (directory / "history.csv").open(newline="") as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


def test_history_and_weights_have_the_same_bits_however_many_steps_a_call_makes(tmp_path, console):
    recipe = image_recipe(epochs=2, network=Network(dropout=0.3))
    weights = {}
    for steps in (1, 3, None):  # of the 8 of an epoch, 3 leaves a remainder; None lets the training choose
        place = tmp_path / str(steps)
        weights[steps] = train(with_fitting(recipe, steps_per_execution=steps), place, console).model.get_weights()
    assert history(tmp_path / "1") == history(tmp_path / "3") == history(tmp_path / "None")
    for one, three, chosen in zip(*weights.values(), strict=True):
        np.testing.assert_array_equal(one, three)
        np.testing.assert_array_equal(one, chosen)


def test_so_it_is_with_batches_of_different_lengths(tmp_path, console):
    for steps in (1, 3):
        train(
            with_fitting(text_recipe(build=build_bag), epochs=1, steps_per_execution=steps),
            tmp_path / str(steps),
            console,
        )
    assert history(tmp_path / "1") == history(tmp_path / "3")


def test_early_stopping_warnings_and_the_bar_are_the_same_with_one_call_per_epoch(tmp_path):
    import io

    from rich.console import Console

    still = Optimizer(name="sgd", learning_rate=1e-12)
    recipe = image_recipe(
        optimizer=still,
        fitting=Fitting(epochs=9, batch_size=16, patience=2, monitor="val_loss", minimum_delta=1e-3),
        network=Network(width=64),
    )
    terminal = Console(file=io.StringIO(), force_terminal=True, width=120)
    trained = train(with_fitting(recipe, steps_per_execution=8), tmp_path, terminal)
    assert trained.progressed.epoch == 3
    assert "epoch 1/9" in terminal.file.getvalue()


def test_a_diverging_run_is_ended_though_a_call_makes_all_steps(tmp_path, console):
    from training.errors import TrainingDiverged

    recipe = image_recipe(optimizer=Optimizer(name="sgd", learning_rate=1e30))
    with pytest.raises(TrainingDiverged, match="loss became nan at step 8"):
        train(with_fitting(recipe, steps_per_execution=8), tmp_path, console)


def test_a_call_of_a_slow_network_makes_few_steps_and_one_of_a_fast_network_at_most_an_epoch():
    import time

    from training.fit.execution import CALL_S, STEP_SHARE, steps_per_call

    def taking(seconds):
        def model(inputs, training):
            time.sleep(seconds)

        return model

    assert steps_per_call(taking(CALL_S / STEP_SHARE / 4.5), [(0, 0)], steps=1000) in {3, 4}
    assert steps_per_call(taking(1.0), [(0, 0)], steps=1000) == 1
    assert steps_per_call(taking(0.0), [(0, 0)], steps=8) == 8


def test_xla_trains_the_same_network_within_its_rounding(tmp_path, console):
    recipe = image_recipe(epochs=2, optimizer=Optimizer(name="sgd", learning_rate=0.05))
    plain = train(recipe, tmp_path / "plain", console).model.get_weights()
    compiled = train(with_fitting(recipe, jit_compile=True), tmp_path / "compiled", console).model.get_weights()
    for one, other in zip(plain, compiled, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)  # sums in another order, over 16 steps


def test_half_precision_learns_is_resumed_and_publishes_a_float32_network(tmp_path, console):
    from training.runs.record import Plan
    from training.runs.run import run

    recipe = with_fitting(image_recipe(epochs=1, network=Network(dropout=0.1)), mixed_precision="mixed_float16")
    run(recipe, Plan(), directory=tmp_path / "run", console=console)
    state = tmp_path / "run/state.json"
    state.write_text(state.read_text().replace('"finished": true', '"finished": false'))
    longer = with_fitting(recipe, epochs=3)
    outcome = run(longer, Plan(repository=tmp_path / "models"), directory=tmp_path / "run", console=console)
    assert "resuming after epoch 1 of 3" in console.file.getvalue()
    assert outcome.validation.accuracy > 0.9
    assert outcome.version is not None, console.file.getvalue()  # parity of Keras, SavedModel and ONNX was checked
    import onnx

    graph = onnx.load(outcome.version / "model.onnx").graph
    kinds = {tensor.data_type for tensor in graph.initializer}
    assert onnx.TensorProto.FLOAT in kinds
    assert not kinds & {onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16}
    assert not [node for node in graph.node if node.op_type == "Cast" and node.attribute[0].i in {10, 16}]


def test_a_last_layer_that_is_not_dense_gives_float32_answers_too(tmp_path, console):
    def build(network, signature):
        import tf_keras
        from tf_keras import layers

        pixels = layers.Input(signature.input.shape, dtype="uint8", name=signature.input.name)
        x = layers.Dense(signature.classes)(layers.Flatten()(layers.Rescaling(1 / 50, offset=-2)(pixels)))
        return tf_keras.Model(pixels, layers.Softmax(name="probabilities")(x))

    recipe = with_fitting(image_recipe(epochs=1, build=build), mixed_precision="mixed_bfloat16")
    trained = train(recipe, tmp_path, console)
    assert trained.model.output.dtype == "float32"
    assert trained.progressed.best > 0.9


def test_small_gradients_of_float16_are_not_reported_as_vanished(tmp_path, console):
    tiny = Optimizer(name="sgd", learning_rate=1e-3)
    recipe = with_fitting(image_recipe(epochs=1, optimizer=tiny), mixed_precision="mixed_float16")
    assert not [sentence for sentence in train(recipe, tmp_path, console).warnings if "gradient" in sentence]


@pytest.mark.parametrize(
    ("recipe", "changes", "sentence"),
    [
        (text_recipe(), {"jit_compile": True}, "XLA compiles the step again for every length of a text"),
        (
            image_recipe(optimizer=Optimizer(name="sgd", ema_momentum=0.9)),
            {"steps_per_execution": 4},
            "steps_per_execution 4 would leave steps out of the average of optimizer.ema_momentum",
        ),
    ],
)
def test_settings_that_exclude_each_other_are_refused_before_training(recipe, changes, sentence, tmp_path, console):
    with pytest.raises(SettingRefused, match=sentence):
        train(with_fitting(recipe, **changes), tmp_path, console)
    assert not (tmp_path / "history.csv").exists()


def build_with_strings(network, signature):
    import tensorflow as tf
    import tf_keras
    from tf_keras import layers

    x = layers.Input(signature.input.shape, dtype=signature.input.dtype, name=signature.input.name)
    read = layers.Lambda(lambda values: tf.strings.to_number(tf.strings.as_string(values)))(x)
    return tf_keras.Model(x, layers.Dense(1, name="values")(layers.Reshape(signature.input.shape)(read)))


def build_with_float32_inside(network, signature):
    import tensorflow as tf
    import tf_keras
    from tf_keras import layers

    x = layers.Input(signature.input.shape, dtype=signature.input.dtype, name=signature.input.name)
    scaled = layers.Lambda(lambda values: values * tf.constant([1.0, 2.0]))(x)
    return tf_keras.Model(x, layers.Dense(1, name="values")(scaled))


def test_a_network_that_xla_or_half_precision_cannot_take_is_refused_with_the_reason(tmp_path, console):
    recipe = with_fitting(number_recipe(build=build_with_strings), jit_compile=True)
    with pytest.raises(SettingRefused, match=r"XLA cannot compile the network: .*; set fitting.jit_compile=false"):
        train(recipe, tmp_path / "xla", console)
    mixed = with_fitting(number_recipe(build=build_with_float32_inside), mixed_precision="mixed_float16")
    with pytest.raises(SettingRefused, match=r"cannot be built with fitting.mixed_precision=mixed_float16: .*float32"):
        train(mixed, tmp_path / "half", console)


@pytest.mark.parametrize("setting", ["steps_per_execution", "mixed_precision"])
def test_a_wrong_value_is_refused(setting, write_recipe, command):
    write_recipe("tiny_images.py", "from tests.training.tiny import *\nRECIPE = image_recipe()\n")
    ended = command("run", "tiny-images", "--set", f"fitting.{setting}=0")
    assert ended.code == 2
    assert f"fitting.{setting}=0" in ended.err
