import numpy as np
import pytest

from tests.training.studied import studied
from training.overrides import apply_overrides
from training.recipes.hello_tensorboard import RECIPE, RandomRows


def test_random_labels_are_learned_by_heart_and_the_logs_have_the_graph_and_histograms(tmp_path, console):
    recipe = apply_overrides(RECIPE, ["data.rows=200", "fitting.epochs=20", "fitting.batch_size=10"])
    splits = recipe.data.load()
    found, model = studied(recipe, splits, tmp_path, console, tensorboard=True)
    assert model.count_params() == 785 * 64 + 65 * 10
    assert found.missed == ()
    values = {figure.name: figure.value for figure in found.figures}
    assert values["accuracy on the rows that it learned"] > 0.5
    assert values["graph in the logs"] == "yes"
    assert values["weights with a histogram in the logs"] == 4
    [picture] = found.pictures.values()
    assert picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_the_rows_are_random_in_each_part_and_the_same_each_time():
    splits, again = RandomRows(rows=1000).load(), RandomRows(rows=1000).load()
    parts = (splits.train, splits.validation, splits.read_test())
    assert {part.instances.shape for part in parts} == {(1000, 784)}
    assert not (parts[0].instances == parts[1].instances).any()
    np.testing.assert_array_equal(again.train.instances, parts[0].instances)
    for part in parts:
        assert part.instances.mean() == pytest.approx(0.5, abs=0.01)
        assert set(part.labels.tolist()) == set(range(10))
