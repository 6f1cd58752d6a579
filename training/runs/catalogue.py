"""The recipes and lessons: the project's own in training/recipes and training/lessons, and those of the user.

A user's recipe is a file: named by its path, or found by its name in the folder of own recipes. Imports no TensorFlow,
and recipes only when they are needed.
"""

import difflib
import importlib
import importlib.util
import os
import pkgutil
import sys
import traceback
from pathlib import Path
from types import ModuleType

from training import lessons, recipes
from training.errors import RecipeBroken, RecipeNotFound
from training.recipe.lesson import Lesson
from training.recipe.recipe import Recipe

RECIPES_VARIABLE = "ATELIER_RECIPES_DIR"
OWN_PACKAGE = "atelier_own_recipes"
"""Prefix of the module name of a recipe that is not part of this package."""


def own_recipes_folder() -> Path:
    """The folder of the user's recipes: ``ATELIER_RECIPES_DIR``, or ``recipes`` in the working directory."""
    return Path(os.environ.get(RECIPES_VARIABLE) or "recipes")


def recipe_names() -> list[str]:
    """Names of all recipes and lessons, from their file names (``-`` for ``_``)."""
    return sorted({*_modules(), *_own_files()})


def _modules() -> dict[str, str]:
    """Name of a recipe of the project -> its module."""
    return {
        module.name.replace("_", "-"): f"{package.__name__}.{module.name}"
        for package in (lessons, recipes)
        for module in pkgutil.iter_modules(package.__path__)
    }


def _own_files() -> dict[str, Path]:
    """Name of a recipe of the user -> its file. In the folder ``training``, ``recipes`` is not the user's."""
    folder = own_recipes_folder()
    packages = (Path(path).resolve() for path in (*recipes.__path__, *lessons.__path__))
    files = [] if folder.resolve() in packages else sorted(folder.glob("*.py"))
    return {_name_of(path): path for path in files if not path.name.startswith("_")}


def _name_of(path: Path) -> str:
    return path.stem.replace("_", "-")


def recipe_file(name: str) -> Path | None:
    """The file of a user's recipe, named by its path or its name; None for one of the project, or an unknown name."""
    return Path(name) if name.endswith(".py") else _own_files().get(name)


def load_recipe(name: str) -> Recipe | Lesson:
    """The ``RECIPE`` of a file of training/recipes, training/lessons or the folder of own recipes, or of a path.

    Args:
        name: of the recipe, or a path that ends in ``.py``.

    Raises:
        RecipeNotFound: no such name, the message has the existing ones; or no such file.
        RecipeBroken: the file cannot be imported, or defines no RECIPE; names the file, the line and the mistake. Or
            two recipes have the name.
    """
    modules, own = _modules(), recipe_file(name)
    if own is not None:
        if not own.is_file():
            raise RecipeNotFound(f"{own} does not exist; `training new NAME --images DIR` writes a recipe")
        if _name_of(own) in modules:
            raise RecipeBroken(
                f"{own}: {_name_of(own)!r} is also a recipe of this package; rename the file and its RECIPE"
            )
        module, file = f"{OWN_PACKAGE}.{own.stem}", str(own)
    elif name in modules:
        module = modules[name]
        file = f"{module.replace('.', '/')}.py"
    else:
        names = recipe_names()
        nearest = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {nearest[0]}? " if nearest else ""
        raise RecipeNotFound(f"there is no recipe {name!r}; {hint}there are: {', '.join(names)}")
    try:
        loaded = importlib.import_module(module) if own is None else _run_file(own, module)
        recipe = getattr(loaded, "RECIPE", None)
    except Exception as error:
        raise RecipeBroken(f"{file}: {_where(error, _origin(module, own))}{error}") from error
    if not isinstance(recipe, Recipe | Lesson):
        raise RecipeBroken(f"{file}: it defines no RECIPE that is a Recipe or a Lesson")
    expected = name if own is None else _name_of(own)
    if recipe.name != expected:  # its runs and versions would be mistaken for those of another recipe
        raise RecipeBroken(
            f"{file}: RECIPE is called {recipe.name!r}, but the file says {expected!r}; use the same name"
        )
    return recipe


def _run_file(path: Path, module: str) -> ModuleType:
    """The module of a file, which need not be on the path of modules."""
    spec = importlib.util.spec_from_file_location(module, path)
    assert spec is not None  # the file ends in .py
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[module] = loaded  # dataclasses look up the module of their class
    spec.loader.exec_module(loaded)
    return loaded


def _origin(module: str, own: Path | None) -> str | None:
    if own is not None:
        return str(own)
    spec = importlib.util.find_spec(module)
    return spec.origin if spec else None


def _where(error: Exception, origin: str | None) -> str:
    """Kind of the error and the line of the recipe's file that it came from."""
    places = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError):
        places.append((error.filename or "", error.lineno))
    line = next((line for file, line in reversed(places) if file == origin), None)
    return f"line {line}: {type(error).__name__}: " if line else f"{type(error).__name__}: "
