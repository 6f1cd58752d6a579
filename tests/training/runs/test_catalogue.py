import subprocess
import sys

import pytest

from training.errors import RecipeBroken, RecipeNotFound
from training.runs.catalogue import load_recipe, recipe_names

TINY = "from tests.training.tiny import image_recipe\nRECIPE = image_recipe()\n"


def test_recipes_are_found_by_their_file_names():
    assert {"cats-vs-dogs-cnn", "fashion-mnist-cnn", "fashion-mnist-mlp", "imdb-sentiment-lstm", "hello-world"} <= {
        *recipe_names()
    }
    assert recipe_names() == sorted(recipe_names())
    assert all(load_recipe(name).name == name for name in recipe_names())


def test_a_new_file_in_the_recipes_folder_is_a_new_recipe(write_recipe):
    write_recipe("tiny_images.py", TINY)
    assert recipe_names() == ["tiny-images"]
    assert load_recipe("tiny-images").description == "Dark or bright."


def test_an_unknown_recipe_is_refused_with_the_known_ones(write_recipe):
    write_recipe("tiny_images.py", TINY)
    write_recipe("other.py", TINY)
    with pytest.raises(RecipeNotFound, match=r"^there is no recipe 'mlp'; there are: other, tiny-images$"):
        load_recipe("mlp")


def test_a_misspelt_recipe_is_answered_with_the_nearest():
    with pytest.raises(RecipeNotFound, match=r"no recipe 'fashion-minst-mlp'; did you mean fashion-mnist-mlp\? there"):
        load_recipe("fashion-minst-mlp")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("import math\n\nRECIPE = (\n", "line 3: SyntaxError: '(' was never closed"),
        ("\nfrom nowhere import RECIPE\n", "line 2: ModuleNotFoundError: No module named 'nowhere'"),
        ("half = 1 / 2\nRECIPE = 1 / 0\n", "line 2: ZeroDivisionError: division by zero"),
        ("import json\njson.loads('{')\n", "line 2: JSONDecodeError: "),  # and not the line of the JSON text
        ("recipe = None\n", "it defines no RECIPE that is a Recipe or a Lesson"),
        ("RECIPE = dict(name='broken')\n", "it defines no RECIPE that is a Recipe or a Lesson"),
        (TINY, "RECIPE is called 'tiny-images', but the file says 'broken'; use the same name"),
    ],
)
def test_a_file_that_is_not_a_recipe_is_refused_with_file_line_and_mistake(text, sentence, write_recipe):
    write_recipe("broken.py", text)
    with pytest.raises(RecipeBroken) as refused:
        load_recipe("broken")
    assert str(refused.value).startswith(f"training/recipes/broken.py: {sentence}")


def test_the_line_is_that_of_the_recipe_and_not_of_a_module_of_the_same_name(write_recipe, tmp_path, monkeypatch):
    (tmp_path / "helpers").mkdir()
    (tmp_path / "helpers" / "broken.py").write_text("\n\n\n\nraise ValueError('no')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    write_recipe("broken.py", "import helpers.broken\n")
    with pytest.raises(RecipeBroken, match=r"broken\.py: line 1: ValueError: no$"):
        load_recipe("broken")


def test_the_list_shows_the_other_recipes_next_to_a_broken_one(write_recipe, command):
    write_recipe("tiny_images.py", TINY)
    write_recipe("broken.py", "RECIPE = (\n")
    ended = command("list")
    assert ended.code == 2
    assert "Dark or bright." in ended.out
    assert "cannot be read, see below" in ended.out
    assert ended.err.startswith("error: training/recipes/broken.py: line 1: SyntaxError: '(' was never closed")
    assert len(ended.err.splitlines()) == 1


def test_reading_all_recipes_does_not_import_tensorflow():
    code = (
        "import sys, training.cli; from training.runs.catalogue import *; "
        "[load_recipe(name) for name in recipe_names()]; "
        "sys.exit('tensorflow' in sys.modules or 'tf_keras' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_recipe_of_the_user_with_the_name_of_another_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("ATELIER_RECIPES_DIR", str(tmp_path))
    (tmp_path / "hello_world.py").write_text(TINY)
    with pytest.raises(RecipeBroken, match=r"hello_world\.py: 'hello-world' is also a recipe of this package; rename"):
        load_recipe("hello-world")
    with pytest.raises(RecipeBroken, match="'hello-world' is also a recipe of this package"):
        load_recipe(str(tmp_path / "hello_world.py"))


def test_a_file_that_does_not_exist_is_refused():
    with pytest.raises(RecipeNotFound, match=r"^nowhere/tiny\.py does not exist; `training new NAME --images DIR`"):
        load_recipe("nowhere/tiny.py")


def test_the_mistake_in_a_file_of_the_user_is_named_with_its_line(tmp_path, monkeypatch):
    monkeypatch.setenv("ATELIER_RECIPES_DIR", str(tmp_path))
    (tmp_path / "mine.py").write_text("half = 1 / 2\nRECIPE = 1 / 0\n")
    with pytest.raises(RecipeBroken, match=r"mine\.py: line 2: ZeroDivisionError: division by zero$"):
        load_recipe("mine")
