"""The recipes and lessons, found by their files in training/recipes and training/lessons.

Imports no TensorFlow, and recipes only when they are needed.
"""

import difflib
import importlib
import importlib.util
import pkgutil
import traceback

import training.lessons
import training.recipes
from training.errors import RecipeBroken, RecipeNotFound
from training.recipe.lesson import Lesson
from training.recipe.recipe import Recipe


def recipe_names() -> list[str]:
    """Names of all recipes and lessons, from their file names (``-`` for ``_``)."""
    return sorted(_modules())


def _modules() -> dict[str, str]:
    """Name of a recipe -> its module."""
    return {
        module.name.replace("_", "-"): f"{package.__name__}.{module.name}"
        for package in (training.lessons, training.recipes)
        for module in pkgutil.iter_modules(package.__path__)
    }


def load_recipe(name: str) -> Recipe | Lesson:
    """The ``RECIPE`` of training/recipes/NAME.py or training/lessons/NAME.py.

    Raises:
        RecipeNotFound: names the existing recipes.
        RecipeBroken: the file cannot be imported, or defines no RECIPE; names the file, the line and the mistake.
    """
    modules = _modules()
    if name not in modules:
        names = sorted(modules)
        nearest = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {nearest[0]}? " if nearest else ""
        raise RecipeNotFound(f"there is no recipe {name!r}; {hint}there are: {', '.join(names)}")
    module = modules[name]
    file = f"{module.replace('.', '/')}.py"
    try:
        recipe = getattr(importlib.import_module(module), "RECIPE", None)
    except Exception as error:
        raise RecipeBroken(f"{file}: {_where(error, module)}{error}") from error
    if not isinstance(recipe, Recipe | Lesson):
        raise RecipeBroken(f"{file}: it defines no RECIPE that is a Recipe or a Lesson")
    if recipe.name != name:  # its runs and versions would be mistaken for those of another recipe
        raise RecipeBroken(f"{file}: RECIPE is called {recipe.name!r}, but the file says {name!r}; use the same name")
    return recipe


def _where(error: Exception, module: str) -> str:
    """Kind of the error and the line of the recipe's file that it came from."""
    places = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError):
        places.append((error.filename or "", error.lineno))
    spec = importlib.util.find_spec(module)
    line = next((line for file, line in reversed(places) if spec and file == spec.origin), None)
    return f"line {line}: {type(error).__name__}: " if line else f"{type(error).__name__}: "
