"""``--config FILE``: the settings of an earlier run, as overrides of the recipe of today. Imports no TensorFlow."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.errors import RunNotFound, SettingRefused
from training.overrides import apply_overrides, as_text, settings
from training.recipe.lesson import Lesson
from training.recipe.recipe import Recipe
from training.runs.directories import CONFIG_FILE
from training.runs.session import Dataset

_FIELDS: dict[str, type] = {"recipe": str, "dataset": str, "settings": dict}
_WORDS: dict[type, str] = {str: "a string", dict: "an object"}


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a config.json says of its run.

    Attributes:
        path: of the file.
        recipe: name of the recipe.
        recipe_file: of a recipe that is not part of this package; None otherwise.
        dataset: ``real`` or ``synthetic``.
        settings: path -> value of every setting, with the run's overrides applied.
    """

    path: Path
    recipe: str
    recipe_file: str | None
    dataset: Dataset
    settings: dict[str, Any]

    def source(self, name: str) -> str:
        """What to load for the ``name`` that was asked for: the run's own file, if only the run knows it."""
        own = self.recipe_file if name == self.recipe else None
        return own if own and Path(own).is_file() else name

    def overrides(self, recipe: Recipe | Lesson, given: Iterable[str]) -> list[str]:
        """``PATH=VALUE`` of each setting in which the run differs from the recipe, except for those of ``given``.

        Args:
            recipe: without overrides.
            given: the overrides of the command line, which win.

        Raises:
            SettingRefused: the run is one of another recipe, or the recipe does not have a setting or a value of it.
        """
        if recipe.name != self.recipe:
            raise SettingRefused(f"{self.path} is of a run of {self.recipe}, not of {recipe.name}")
        now = {path: as_text(value) for path, value in settings(recipe)}
        replaced = {assignment.partition("=")[0].strip() for assignment in given}
        differing = []
        for path, value in self.settings.items():
            text = as_text(value)
            if path in replaced or now.get(path) == text:
                continue
            try:
                apply_overrides(recipe, [f"{path}={text}"])
            except SettingRefused as error:
                raise SettingRefused(f"{self.path}: {error}") from error
            differing.append(f"{path}={text}")
        return differing


def read_config_file(path: Path) -> Config:
    """Read the config.json of a run, or that of the directory of a run.

    Raises:
        RunNotFound: there is no such file.
        SettingRefused: it is not a config.json.
    """
    path = path / CONFIG_FILE if path.is_dir() else path
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise RunNotFound(f"{path} does not exist; --config takes the {CONFIG_FILE} of a run") from error
    except (OSError, ValueError) as error:
        raise SettingRefused(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(document, dict):
        raise SettingRefused(f"{path} must be a JSON object, as the {CONFIG_FILE} of a run is")
    for field, kind in _FIELDS.items():
        if not isinstance(document.get(field), kind):
            raise SettingRefused(f"{path}: {field!r} must be {_WORDS[kind]}, as in the {CONFIG_FILE} of a run")
    if document["dataset"] not in set(Dataset):
        raise SettingRefused(f"{path}: 'dataset' must be {' or '.join(Dataset)}, not {document['dataset']!r}")
    file = document.get("recipe_file")
    return Config(
        path=path,
        recipe=document["recipe"],
        recipe_file=file if isinstance(file, str) else None,
        dataset=Dataset(document["dataset"]),
        settings=document["settings"],
    )
