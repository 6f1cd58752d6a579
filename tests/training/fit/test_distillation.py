"""A published classifier as the teacher of a network."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tests.support.saved_models import spec, tensorflow, write_saved_model
from tests.training.tiny import Given, bright_images, image_recipe, noisy_images, text_recipe, train
from training.data.settings import ImageAugmentation
from training.errors import SettingRefused, TrainingDiverged
from training.fit.run_files import Progressed
from training.recipe.fitting import Distillation, Fitting, Loss

DARK, BRIGHT = "dark", "bright"
LOGIT = 2.0


def write_teacher(directory, *, labels=(DARK, BRIGHT), shape=(8, 8), saved_model=True):
    """A version that knows the brightness: logits of plus and minus LOGIT / 2."""
    directory.mkdir(parents=True)
    tf = tensorflow()

    def answer(pixels):
        mean = tf.reduce_mean(tf.cast(pixels, tf.float32), axis=[1, 2])
        logit = tf.where(mean > 100, LOGIT, -LOGIT)
        return {"probabilities": tf.nn.softmax(tf.stack([-logit / 2, logit / 2], axis=1))}

    if saved_model:
        write_saved_model(directory, {"serving_default": (answer, {"pixels": spec([None, *shape], "uint8")})})
    described = {
        "format_version": 1,
        "name": "teacher",
        "description": "Dark or bright.",
        "inputs": [{"name": "pixels", "dtype": "uint8", "shape": shape}],
        "outputs": [{"name": "probabilities", "dtype": "float32", "shape": [len(labels)]}],
        "postprocessing": {"kind": "classification", "output": "probabilities", "labels": labels},
        "opset": 17,
        "trained_on": "drawn",
    }
    (directory / "model.json").write_text(json.dumps(described))
    return str(directory)


def wrongly_labelled(count, seed):
    """Bright images called dark, and dark ones bright."""
    drawn = bright_images(count, seed)
    return replace(drawn, labels=1 - drawn.labels)


def recipe_with(teacher, *, temperature=1.0, rounds=1, **changes):
    data = Given(
        train=wrongly_labelled(128, 1),
        validation=bright_images(40, 2),
        test=noisy_images(1, 3),
        labels=(DARK, BRIGHT),
    )
    distillation = Distillation(teacher=teacher, temperature=temperature, rounds=rounds)
    settings = {"data": data, "distillation": distillation, "fitting": Fitting(epochs=8, batch_size=16, keep="last")}
    return image_recipe(**(settings | changes))


def answers(model):
    images = bright_images(40, 2)
    return model.predict(images.instances, verbose=0), images.labels


def test_a_network_learns_from_its_teacher_and_not_from_the_labels(tmp_path, console):
    taught = train(recipe_with(write_teacher(tmp_path / "teacher" / "1")), tmp_path / "taught", console)
    alone = train(recipe_with(None), tmp_path / "alone", console)
    given, labels = answers(taught.model)
    assert (given.argmax(axis=1) == labels).mean() > 0.95
    assert (answers(alone.model)[0].argmax(axis=1) == labels).mean() < 0.05


@pytest.mark.parametrize(("temperature", "difference"), [(1.0, LOGIT), (4.0, LOGIT / 4)])
def test_the_temperature_divides_the_logits_of_the_teacher(tmp_path, console, temperature, difference):
    teacher = write_teacher(tmp_path / "teacher" / "1")
    recipe = recipe_with(
        teacher, temperature=temperature, fitting=Fitting(epochs=30, batch_size=16, keep="last", validate_every=30)
    )
    given, labels = answers(train(recipe, tmp_path / "run", console).model)
    logits = np.log(given[:, 1] / given[:, 0])
    assert logits[labels == 1].mean() == pytest.approx(difference, abs=0.3 * difference)


def test_the_teacher_answers_the_augmented_images(tmp_path, console):
    recipe = recipe_with(write_teacher(tmp_path / "teacher" / "1"))
    # Half of the images lose all their light, and are dark for whoever sees them.
    darkened = ImageAugmentation(cutout=16, cutout_share=0.5)
    recipe = replace(recipe, pipeline=replace(recipe.pipeline, augmentation=darkened))
    model = train(recipe, tmp_path / "run", console).model
    black = model.predict(np.zeros((1, 8, 8), np.uint8), verbose=0)[0]
    assert black.argmax() == 0
    given, labels = answers(model)
    assert (given.argmax(axis=1) == labels).mean() > 0.95


def test_an_interrupted_training_gives_the_weights_of_one_that_was_not(tmp_path, console):
    teacher = write_teacher(tmp_path / "teacher" / "1")
    fitting = Fitting(epochs=5, batch_size=16, keep="last")
    recipe = recipe_with(teacher, rounds=2, fitting=fitting)
    recipe = replace(recipe, pipeline=replace(recipe.pipeline, augmentation=ImageAugmentation(shift=1)))
    whole = train(recipe, tmp_path / "whole", console)

    def stop(epoch, figures):
        if epoch == 3:
            raise TrainingDiverged("stopped by the test")

    with pytest.raises(TrainingDiverged):
        train(recipe, tmp_path / "parts", console, after_epoch=stop)
    assert 0 < Progressed.read(tmp_path / "parts").epoch < 5
    resumed = train(recipe, tmp_path / "parts", console)
    for one, other in zip(whole.model.get_weights(), resumed.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("version", "sentence"),
    [
        (None, "is not a published version, such as models/NAME/1"),
        ({"saved_model": False}, "has no SavedModel"),
        ({"shape": (9, 8)}, "reads .* and the data gives"),
        ({"labels": (DARK, "light")}, "knows the classes dark, light, and the data has dark, bright"),
    ],
)
def test_a_teacher_that_does_not_fit_is_refused(tmp_path, console, version, sentence):
    teacher = str(tmp_path / "teacher" / "1")
    if version is not None:
        write_teacher(tmp_path / "teacher" / "1", **version)
    with pytest.raises(SettingRefused, match=sentence):
        train(recipe_with(teacher), tmp_path / "run", console)


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        (
            recipe_with("x", loss=Loss(name="mean-squared-error")),
            "the loss must be categorical-crossentropy; it is mean",
        ),
        (recipe_with("x", fitting=Fitting(epochs=1, batch_size=16, class_weights="balanced")), "rows with weights"),
        (text_recipe(distillation=Distillation(teacher="x")), "is not a published version"),
    ],
)
def test_a_teacher_is_refused_where_it_cannot_teach(tmp_path, console, recipe, sentence):
    with pytest.raises(SettingRefused, match=sentence):
        train(recipe, tmp_path / "run", console)
