import numpy as np
import pytest

from tests.training.studied import studied
from training.overrides import apply_overrides
from training.recipes.garments_autoencoder import RECIPE, DrawnGarments, by_components


def test_eight_numbers_keep_more_of_a_garment_than_eight_principal_components(tmp_path, console):
    recipe = apply_overrides(RECIPE, ["data.rows=400", "fitting.epochs=20", "fitting.batch_size=16"])
    splits = recipe.data.load()
    found, model = studied(recipe, splits, tmp_path, console)
    assert found.missed == ()
    values = {figure.name: figure.value for figure in found.figures}
    assert values["error of 8 principal components"] < values["error of the mean garment"] / 2
    assert model.get_layer("code").output_shape == (None, 8)
    [picture] = found.pictures.values()
    assert picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_the_expected_answer_is_the_garment_itself():
    splits = DrawnGarments(rows=20).load()
    for part in (splits.train, splits.validation, splits.read_test()):
        assert part.instances is part.labels
        assert part.instances.shape[1] == 784
        assert (part.instances.min(), part.instances.max() > 0.5) == (0, True)
    assert (splits.train.instances[:5] != splits.validation.instances).any(axis=1).all()


def test_rows_in_a_plane_need_two_components():
    rng = np.random.default_rng(0)
    rows = (rng.normal(size=(50, 2)) @ rng.normal(size=(2, 6)) + 3).astype(np.float32)
    np.testing.assert_allclose(by_components(rows, rows, 2), rows, rtol=0, atol=1e-5)
    assert np.abs(by_components(rows, rows, 1) - rows).max() > 0.1
    assert by_components(rows, rows, 0) == pytest.approx(np.tile(rows.mean(axis=0), (50, 1)), abs=1e-5)
