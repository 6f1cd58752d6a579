import numpy as np
import pytest

from tests.training.tiny import Given, bright_images, image_recipe, number_recipe, plane_points, train
from training.data.class_weights import balanced_weights
from training.datasets.splits import Examples
from training.errors import SettingRefused
from training.recipe.fitting import Fitting

BALANCED = {"batch_size": 16, "class_weights": "balanced"}


def test_rare_classes_weigh_more_and_the_mean_weight_of_a_row_is_1():
    labels = np.array([0] * 90 + [1] * 10, np.int32)
    weights = balanced_weights(labels, 3)
    np.testing.assert_allclose(weights, [100 / 270, 100 / 30, 0], rtol=1e-6)
    assert balanced_weights(labels, 2)[labels].mean() == pytest.approx(1)


def rare_class_recipe(class_weights):
    """1 of 16 rows is bright, hardly brighter than the others."""

    def draw(count, seed):
        examples = bright_images(count * 16, seed)
        keep = (examples.labels == 0) | (np.arange(len(examples)) % 16 == 0)
        images = np.where(examples.labels[:, None, None] == 1, examples.instances - 80, examples.instances)
        return Examples(instances=images.astype(np.uint8), labels=examples.labels).take(np.flatnonzero(keep)[:count])

    data = Given(train=draw(256, 1), validation=draw(64, 2), test=draw(64, 3), labels=("dark", "bright"))
    return image_recipe(data=data, fitting=Fitting(epochs=4, batch_size=16, keep="last", class_weights=class_weights))


def test_with_balanced_weights_more_of_a_rare_class_is_found(tmp_path, console):
    found = {}
    for class_weights in ("none", "balanced"):
        recipe = rare_class_recipe(class_weights)
        trained = train(recipe, tmp_path / class_weights, console)
        test = recipe.data.test
        answers = trained.model.predict(test.instances, verbose=0).argmax(axis=1)
        found[class_weights] = (answers[test.labels == 1] == 1).mean()
    assert found["balanced"] > found["none"]


def test_they_require_classes(tmp_path, console):
    recipe = number_recipe(
        data=Given(train=plane_points(64, 1), validation=plane_points(0, 2), test=plane_points(0, 3)),
        fitting=Fitting(epochs=1, **BALANCED),
    )
    with pytest.raises(SettingRefused, match="class_weights=balanced requires classes; the targets of this recipe are"):
        train(recipe, tmp_path, console)
