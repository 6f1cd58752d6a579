import subprocess
import sys

import pytest

from training.errors import RecipeNotFound
from training.recipe import load_recipe, recipe_names


def test_recipes_are_found_by_their_file_names():
    assert recipe_names() == ["cats-vs-dogs-cnn", "fashion-mnist-cnn", "fashion-mnist-mlp", "imdb-sentiment-lstm"]
    assert all(load_recipe(name).name == name for name in recipe_names())


def test_a_new_file_in_the_recipes_folder_is_a_new_recipe(tmp_path, monkeypatch):
    import training.recipes

    (tmp_path / "my_model.py").write_text("from tests.training.tiny import image_recipe\nRECIPE = image_recipe()\n")
    monkeypatch.setattr(training.recipes, "__path__", [*training.recipes.__path__, str(tmp_path)])
    assert "my-model" in recipe_names()
    assert load_recipe("my-model").description == "Dark or bright."
    sys.modules.pop("training.recipes.my_model")


def test_an_unknown_recipe_is_refused_with_the_known_ones():
    with pytest.raises(RecipeNotFound, match="no recipe 'mlp'; there are: cats-vs-dogs-cnn, fashion-mnist-cnn"):
        load_recipe("mlp")


def test_reading_all_recipes_does_not_import_tensorflow():
    code = (
        "import sys, training.cli; from training.recipe import *; [load_recipe(name) for name in recipe_names()]; "
        "sys.exit('tensorflow' in sys.modules or 'tf_keras' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
